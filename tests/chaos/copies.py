"""Whether the topic of the copies has every event of the origin that names the entity, once and in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from freshet.engine.control import Erase, mark_of
from freshet.spec.partitioning import partition_of
from tests.chaos.topics import Message
from tests.chaos.verdict import Verdict
from tests.integration.rekeying import Copy, mapped

Place = tuple[int, bytes | None, bytes, str]
"""Partition, key, value and headers of a copy: what tells it from others."""


def judge_copies(origin: Sequence[Message], copies: Sequence[Message], partitions: int, verdict: Verdict) -> None:
    """Compares, both in the order of their partitions. What erases a card was sent there by others."""
    home = list(_wanted(origin, partitions))
    wanted = Counter(place for place, _ in home)
    got = [message for message in copies if not _erases_card(message)]
    found = Counter(map(_place, got))
    verdict.lost += [f"copy of {place} is missing" for place in (wanted - found).elements()]
    verdict.doubled += [f"copy of {place} is there too often" for place in (found - wanted).elements()]
    came_from = {place: message for place, message in home if wanted[place] == 1}
    newest: dict[tuple[int, int], int] = {}
    for message in got:
        source = came_from.get(_place(message))
        if source is None:
            continue
        way = source.partition, message.partition
        if source.offset < newest.get(way, -1):
            verdict.wrong.append(f"copy of {source.partition}:{source.offset} stands behind one of {newest[way]}")
        newest[way] = max(newest.get(way, -1), source.offset)
    verdict.looked["copies"] += len(got)


def _wanted(origin: Sequence[Message], partitions: int) -> Iterator[tuple[Place, Message]]:
    """What has to be copied, by a reading of JSON that is not the stage's."""
    for message in origin:
        copy = mapped(Copy(message.key, message.value or b"", list(message.headers)))
        if copy is not None:
            key = copy.key
            home = message.partition % partitions if key is None else partition_of(key.decode(), partitions, "murmur2")
            yield (home, key, copy.value, repr(copy.headers)), message


def _place(message: Message) -> Place:
    return message.partition, message.key, message.value or b"", repr(message.headers)


def _erases_card(message: Message) -> bool:
    mark = mark_of(message.key, message.value, message.headers)
    return isinstance(mark, Erase) and mark.entity.startswith("card_")
