"""What an erasure removes from history, what it leaves, and that writers know of it, on a real PostgreSQL."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import numpy as np
import psycopg
import pytest

from freshet.engine.control import Erase
from freshet.engine.duplicates import event_hashes
from freshet.recorder import erase
from freshet.recorder.database import Database
from freshet.recorder.dead_letters import Letter, SeenReplay, insert, note_replays
from freshet.recorder.erase import note, sweep
from freshet.recorder.rows import Place
from freshet.stores.erasures import ahead, forgotten
from freshet.stores.postgres import connect, migrate

pytestmark = pytest.mark.server

TOPIC, OLD_TOPIC = UUID(int=1), UUID(int=2)
ERASED_MS = 1_767_225_600_000
REQUEST = UUID(int=9)
READERS = {"events": {"users"}, "orders": {"orders"}}


@pytest.fixture
def history(database: str) -> Iterator[psycopg.Connection]:
    migrate(database)
    with connect(database, autocommit=True) as connection:
        yield connection


def at(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def event(
    connection: psycopg.Connection, entity: str, offset: int, *, topic: UUID = TOPIC, ms: int = ERASED_MS
) -> None:
    connection.execute(
        'INSERT INTO event_log (topic_id, partition, "offset", broker_time, status, topic, entity, event_id, '
        "event_time, payload) VALUES (%s, 0, %s, %s, 0, 'events', %s, 'id', now(), '{}')",
        (topic, offset, at(ms), entity),
    )


def vector(
    connection: psycopg.Connection, entity: str, source_offset: int, featureset: str = "users", ms: int = 0
) -> None:
    connection.execute(
        "INSERT INTO feature_snapshots SELECT %s, 0, coalesce(max(\"offset\"), 0) + 1, %s, %s, 'v1', 'r', %s, 0, %s, "
        "now(), '{}' FROM feature_snapshots",
        (UUID(int=3), at(ms or ERASED_MS + 1), featureset, entity, source_offset),
    )


def letter(
    entity: str | None, offset: int, *, payload: bytes = b"{}", key: bytes = b"k", ms: int = ERASED_MS
) -> Letter:
    owner = "default/users/r"
    return Letter(TOPIC, 0, offset, owner, "events", ms, "not_json", "why", ms, key, payload, entity)


def add(connection: psycopg.Connection, *letters: Letter) -> int:
    with connection.transaction():
        return insert(connection, letters)


def erased(connection: psycopg.Connection, entity: str = "ann", offset: int = 100) -> None:
    with connection.transaction():
        note(connection, "events", TOPIC, 0, offset, ERASED_MS, Erase(entity, REQUEST))


def rows(connection: psycopg.Connection, query: str) -> list[Any]:
    return connection.execute(query.encode()).fetchall()


def test_what_is_older_goes_and_all_else_stays(history: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erase, "_STEP", 10)
    for offset in range(35):
        event(history, "ann", offset)
        event(history, "bob", 1000 + offset)
    event(history, "ann", 101)
    event(history, "ann", 5000, topic=OLD_TOPIC, ms=ERASED_MS - 1)
    for source_offset in range(25):
        vector(history, "ann", source_offset)
    vector(history, "ann", 5000, ms=ERASED_MS - 1)  # of the topic that was there before
    vector(history, "ann", 102)
    vector(history, "ann", 5, "orders")
    vector(history, "bob", 5)
    history.execute("INSERT INTO checkpoints VALUES ('default/users/r', 0, %s, 90)", (TOPIC,))
    for entity in ("ann", "bob"):
        history.execute("INSERT INTO entity_states VALUES ('default/users/r', 0, %s, 90, NULL, '')", (entity,))
    unreadable = [letter(None, 3, payload=b'{"user": "ann", '), letter(None, 4, payload=b'{"user": "annette", ')]
    add(history, letter("ann", 1), letter("bob", 2), *unreadable, letter("other", 5, key=b"ann"))
    erased(history)
    assert sweep(history, READERS) == 1
    assert sweep(history, READERS) == 0
    assert rows(history, "SELECT entity, count(*) FROM event_log WHERE status = 0 GROUP BY 1 ORDER BY 1") == [
        ("ann", 1),
        ("bob", 35),
    ]
    bare = "SELECT count(*), count(entity), count(event_id), count(payload) FROM event_log WHERE status = 3"
    assert rows(history, bare) == [(36, 0, 0, 0)]
    (kept,) = event_hashes(["ann"], ["id"]).view("i8").tolist()
    assert rows(history, "SELECT DISTINCT status, id_hash FROM event_log ORDER BY 1") == [(0, None), (3, kept)]
    found = rows(history, "SELECT entity, featureset, source_offset FROM feature_snapshots ORDER BY 1, 2, 3")
    assert found == [("ann", "orders", 5), ("ann", "users", 102), ("bob", "users", 5)]
    assert rows(history, "SELECT entity FROM entity_states") == [("bob",)]
    assert rows(history, "SELECT source_offset FROM dead_letters ORDER BY 1") == [(2,), (4,)]
    ((removed, applied),) = rows(history, "SELECT removed, applied_at IS NOT NULL FROM erasures")
    assert removed == {"event_log": 36, "feature_snapshots": 26, "entity_states": 1, "dead_letters": 3}
    assert applied


def test_a_sweep_that_dies_is_gone_on_from(history: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erase, "_STEP", 10)
    for offset in range(35):
        event(history, "ann", offset)
    erased(history)
    real, left = erase._Removal._step, 2

    def dying(self: Any, *arguments: Any) -> int:
        nonlocal left
        left -= 1
        if left < 0:
            raise psycopg.OperationalError("killed")
        return real(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(erase._Removal, "_step", dying)
        with pytest.raises(psycopg.OperationalError):
            sweep(history, READERS)
    assert rows(history, "SELECT removed, applied_at FROM erasures") == [({"event_log": 20}, None)]
    assert sweep(history, READERS) == 1
    assert rows(history, "SELECT (removed ->> 'event_log')::int FROM erasures") == [(35,)]


def test_writers_know_of_it(history: psycopg.Connection, database: str) -> None:
    erased(history)
    with history.transaction():
        known = forgotten(history, {"ann", "bob", "a\0b"})
        assert known.of_state("ann", "events", 0, 100)
        assert known.of_state("ann", None, 0, 100)
        assert not known.of_state("ann", "events", 0, 101)
        assert not known.of_state("ann", "events", 1, 5)
        assert not known.of_state("ann", "orders", 0, 5)
        assert not known.of_state("bob", "events", 0, 5)
        assert known.of_record("ann", "events", ERASED_MS)
        assert not known.of_record("ann", "events", ERASED_MS + 1)
        assert not known.of_record(None, "events", 0)
    assert add(history, letter("ann", 1), letter("ann", 101, ms=ERASED_MS + 5), letter("bob", 2)) == 2
    assert add(history, letter("bob", 2)) == 0, "a letter that was sent twice is one row"
    assert ahead(database, TOPIC, 0, 50) == {"ann": 100}
    assert ahead(database, TOPIC, 0, 101) == {}
    assert ahead(database, OLD_TOPIC, 0, 0) == {}


def test_the_recorder_knows_an_erased_event_that_comes_again(history: psycopg.Connection, database: str) -> None:
    event(history, "ann", 5)
    erased(history)
    assert sweep(history, READERS) == 1
    history.execute(
        "INSERT INTO recorded (topic_id, partition, topic, token, backend, first_offset, next_offset, duplicates_from, "
        "log_ms) VALUES (%s, 0, 'events', %s, 1, 0, 101, 0, %s)",
        (TOPIC, REQUEST, ERASED_MS),
    )
    recorder = Database(database)
    recorder.open()
    _, known = recorder.take_over(Place("events", TOPIC, 0), 0, 200, 600_000)
    recorder.close()
    assert known is not None
    offsets, times = np.array([101, 102], np.int64), np.full(2, ERASED_MS + 1, np.int64)
    assert known.accept(offsets, times, np.arange(2), event_hashes(["ann", "ann"], ["id", "new"])).tolist() == [0, 1]


def test_a_topic_made_anew_begins_again(history: psycopg.Connection) -> None:
    erased(history)
    columns = "topic_id, partition, topic, token, backend, first_offset, next_offset, duplicates_from, updated_at"
    for topic, when in ((TOPIC, "2026-01-01"), (OLD_TOPIC, "2026-02-01")):
        history.execute(
            f"INSERT INTO recorded ({columns}) VALUES (%s, 0, 'events', %s, 1, 0, 500, 0, %s)", (topic, REQUEST, when)
        )
    with history.transaction():
        assert not forgotten(history, {"ann"}).by_entity, "its offsets say nothing of the new topic's"


def test_an_erasure_waits_for_whoever_has_looked_already(history: psycopg.Connection, database: str) -> None:
    done = threading.Event()

    def other() -> None:
        with connect(database, autocommit=True) as connection:
            erased(connection)
        done.set()

    with history.transaction():
        assert not forgotten(history, {"ann"}).by_entity
        thread = threading.Thread(target=other)
        thread.start()
        time.sleep(0.3)
        vector(history, "ann", 5)
        assert not done.is_set()
    thread.join(10)
    assert sweep(history, READERS) == 1
    assert rows(history, "SELECT count(*) FROM feature_snapshots") == [(0,)]


def test_a_replay_that_is_seen_in_the_log_settles_its_letters(history: psycopg.Connection) -> None:
    add(history, letter("ann", 1), letter("ann", 2), letter("ann", 1)._replace(owner="default/users/r0"))
    add(history, letter("ann", 1)._replace(owner="default/others/r"))
    assert note_replays(history, [SeenReplay("default/users/r2", (TOPIC, 0, 1), 3, 77)]) == 2
    query = (
        "SELECT owner, source_offset FROM dead_letters WHERE status = 'replayed' AND replayed_offset = 77 ORDER BY 1"
    )
    assert rows(history, query) == [("default/users/r", 1), ("default/users/r0", 1)]
