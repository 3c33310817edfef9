"""What records mean beyond their rows: erasures, dead letters, and dead letters that are in the log again."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import psycopg

from freshet.engine.control import Erase, Replay
from freshet.recorder import dead_letters, erase
from freshet.recorder.batch import Batch
from freshet.recorder.dead_letters import SeenReplay, letter_of
from freshet.recorder.judge import marks_of
from freshet.recorder.rows import Place
from freshet.recorder.writer import Also


def of_events(place: Place, batch: Batch) -> list[Also]:
    """What belongs to the records of a source topic."""
    marks = marks_of(batch)
    out = []
    for index, mark in marks.items():
        if isinstance(mark, Erase):
            offset, broker_ms = int(batch.offset[index]), int(batch.broker_ms[index])
            out.append(Also("erasures", _note(place, offset, broker_ms, mark), first=True))
    replays = [
        SeenReplay(mark.owner, mark.source, place.partition, int(batch.offset[index]))
        for index, mark in marks.items()
        if isinstance(mark, Replay) and mark.source is not None
    ]
    if replays:
        out.append(Also("dead_letters", lambda connection: dead_letters.note_replays(connection, replays)))
    return out


def _note(place: Place, offset: int, broker_ms: int, mark: Erase) -> Callable[[psycopg.Connection], int]:
    def do(connection: psycopg.Connection) -> int:
        erase.note(connection, place.topic, place.topic_id, place.partition, offset, broker_ms, mark)
        return 1

    return do


def of_letters(batch: Batch, key_fields: Mapping[str, str]) -> list[Also]:
    """The letters that messages of the dead-letter topic are; others are no letters of ours and left out."""
    found = (
        letter_of(batch.keys[i], batch.values[i], {name: data or b"" for name, data in headers}, key_fields)
        for i, headers in sorted(batch.headers.items())
    )
    letters = [letter for letter in found if letter is not None]
    return [Also("dead_letters", lambda connection: dead_letters.insert(connection, letters))] if letters else []
