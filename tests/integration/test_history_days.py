"""Partitions by day: made ahead and on demand, dropped after their time, never in the way of a writer."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import numpy as np
import psycopg
import pytest

from freshet.recorder import fence, writer
from freshet.recorder.days import AHEAD_DAYS, days_of, maintain, name_of
from freshet.recorder.fence import LogShorter, Step, take_over
from freshet.recorder.judge import Judged
from freshet.recorder.rows import DAY_MS, EventRows, Place
from freshet.recorder.topics import Retention
from freshet.recorder.writer import Part
from freshet.stores.postgres import connect, migrate

pytestmark = pytest.mark.server

FOREVER = Retention(None, None)
NOW = time.time_ns() // 1_000_000
TODAY = NOW // DAY_MS


def rows(place: Place, begin: int, broker_ms: list[int], event_ids: list[str] | None = None) -> EventRows:
    size = len(broker_ms)
    judged = Judged(
        status=np.zeros(size, np.int16),
        entity=[f"user_{i}" for i in range(size)],
        event_id=list(event_ids or [f"e{i}" for i in range(size)]),
        event_ms=np.array(broker_ms, np.int64),
        replay_for=None,
        payload=[b'{"a": 1}'] * size,
    )
    return EventRows(place, np.arange(begin, begin + size), np.array(broker_ms, np.int64), judged)


class Partition:
    """One partition that a test owns."""

    def __init__(self, url: str, connection: psycopg.Connection) -> None:
        self.url, self.connection = url, connection
        self.place = Place("events", uuid4(), 3)
        self.token = take_over(connection, self.place, 0, 1 << 40).token
        self.next = 0
        self.days: set[tuple[str, int]] = set()

    def write(self, broker_ms: list[int], event_ids: list[str] | None = None) -> writer.Outcome:
        begin, end = self.next, self.next + len(broker_ms)
        step = Step(self.place, self.token, begin, end, max(broker_ms), 0)
        outcome = writer.write(
            self.connection, [Part(step, [rows(self.place, begin, broker_ms, event_ids)])], self.days
        )
        if outcome.done == [True]:
            self.next = end
        return outcome

    def query(self, text: str, *values: Any) -> list[Any]:
        return self.connection.execute(text.encode(), values).fetchall()


@pytest.fixture
def partition(database: str) -> Any:
    migrate(database)
    with connect(database, autocommit=True) as connection:
        yield Partition(database, connection)


def test_days_are_made_ahead_and_dropped_after_their_time(partition: Partition) -> None:
    maintain(partition.connection, NOW, FOREVER)
    assert sorted(days_of(partition.connection, "event_log")) == list(range(TODAY - 1, TODAY + AHEAD_DAYS + 1))
    partition.write([NOW - 3 * DAY_MS, NOW - 2 * DAY_MS, NOW])
    assert maintain(partition.connection, NOW, FOREVER) == [], "nobody said how long"
    dropped = maintain(partition.connection, NOW, Retention(2 * DAY_MS, DAY_MS))
    assert dropped == [name_of("event_log", TODAY - 3)], "a day goes when all of it is too old"
    assert partition.query('SELECT "offset" FROM event_log ORDER BY 1') == [(1,), (2,)]
    assert partition.query("SELECT first_offset, next_offset FROM recorded") == [(1, 3)]


def test_a_strange_broker_time_goes_to_other_and_blocks_nothing(partition: Partition) -> None:
    strange = [-1, 0, 5 * 365 * DAY_MS, (1 << 63) - 1, -(1 << 63), NOW + 400 * DAY_MS]
    assert partition.write([*strange, NOW]).done == [True]
    assert partition.query("SELECT count(*) FROM event_log_other") == [(6,)]
    assert set(days_of(partition.connection, "event_log")) == {TODAY}, "a wrong clock makes no tables"
    times = partition.query("SELECT broker_time FROM event_log ORDER BY 1")
    assert len(times) == 7, "every one can be read by a client"


def test_rows_of_other_move_when_their_day_comes(partition: Partition) -> None:
    partition.write([NOW, NOW + 10 * DAY_MS])
    assert partition.query("SELECT count(*) FROM event_log_other") == [(1,)]
    maintain(partition.connection, NOW + 9 * DAY_MS, FOREVER)
    assert partition.query("SELECT count(*) FROM event_log_other") == [(0,)]
    assert partition.query(f"SELECT count(*) FROM {name_of('event_log', TODAY + 10)}") == [(1,)]


def test_strays_go_with_their_neighbours(partition: Partition) -> None:
    partition.write([NOW - 5 * DAY_MS, 0, NOW - 5 * DAY_MS, NOW, 0])
    maintain(partition.connection, NOW, Retention(DAY_MS, DAY_MS))
    assert partition.query('SELECT "offset" FROM event_log ORDER BY 1') == [(3,), (4,)]


def test_many_that_keep_the_days_at_once_survive_and_so_do_writers(partition: Partition) -> None:
    """Also writers at the same time, and a reader that holds its lock for long."""
    reader = connect(partition.url)
    reader.execute("SELECT count(*) FROM event_log").fetchone()  # its transaction stays open
    errors: list[BaseException] = []

    def keep(n: int) -> None:
        try:
            with connect(partition.url, autocommit=True) as connection:
                maintain(connection, NOW + n % 3 * DAY_MS, Retention(2 * DAY_MS, 2 * DAY_MS))
        except BaseException as error:
            errors.append(error)

    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(keep, n) for n in range(8)]
        began = time.monotonic()
        for n in range(30):
            assert partition.write([NOW - n % 5 * DAY_MS] * 50).done == [True]
        seconds = time.monotonic() - began
        for job in jobs:
            job.result()
    reader.close()
    assert not errors
    assert seconds < 45, "a writer waits for one lock at most a second at a time"
    keep(0)
    assert partition.query('SELECT max("offset") FROM event_log') == [(1499,)]


def test_a_row_that_postgres_refuses_keeps_its_place_and_blocks_nothing(partition: Partition) -> None:
    ids = [f"e{i}" for i in range(100)]
    ids[37] = "a\0b"
    outcome = partition.write([NOW] * 100, ids)
    assert (outcome.done, outcome.rows, outcome.refused) == ([True], {"event_log": 100}, {"event_log": 1})
    assert partition.query("SELECT count(*) FROM event_log WHERE status = 0") == [(99,)]
    bare = partition.query('SELECT status, entity, event_id, payload FROM event_log WHERE "offset" = 37')
    assert bare == [(5, None, None, None)]


def test_an_owner_that_lost_its_token_writes_nothing(partition: Partition) -> None:
    partition.write([NOW])
    with connect(partition.url, autocommit=True) as other:
        taken = take_over(other, partition.place, 0, 10)
    assert taken.next_offset == 1
    assert partition.write([NOW]).done == [False]
    assert partition.query("SELECT count(*) FROM event_log") == [(1,)]


def test_of_several_partitions_only_the_lost_one_is_left_out(partition: Partition) -> None:
    second = Partition(partition.url, partition.connection)
    with connect(partition.url, autocommit=True) as other:
        take_over(other, second.place, 0, 10)
    parts = [
        Part(Step(one.place, one.token, 0, 2, NOW, 0), [rows(one.place, 0, [NOW, NOW])]) for one in (second, partition)
    ]
    assert writer.write(partition.connection, parts, set()).done == [False, True]
    assert partition.query("SELECT DISTINCT topic_id FROM event_log") == [(partition.place.topic_id,)]


def test_a_take_over_waits_for_the_old_transaction_and_then_ends_its_session(
    partition: Partition, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fence, "_WAIT_MS", 300)
    old = connect(partition.url, autocommit=True, application=fence.APPLICATION)
    place = Place("events", uuid4(), 0)
    step = Step(place, take_over(old, place, 0, 10).token, 0, 1, NOW, 0)
    old.execute("BEGIN")
    assert fence.lock(old, [step]) == [True]
    with pytest.raises(fence.OwnerBusy):
        take_over(partition.connection, place, 0, 10)
    taken = take_over(partition.connection, place, 0, 10)
    assert taken.next_offset == 0, "what the old owner had not committed is not there"
    with pytest.raises(psycopg.OperationalError):
        old.execute("COMMIT")


def test_what_the_log_has_dropped_is_jumped_over_and_said(partition: Partition) -> None:
    partition.write([NOW] * 5)
    taken = take_over(partition.connection, partition.place, 12, 20)
    assert (taken.next_offset, taken.missed) == (12, 7)
    assert partition.query("SELECT first_offset, next_offset FROM recorded") == [(12, 12)]


def test_a_log_that_is_shorter_than_history_stops_the_partition(partition: Partition) -> None:
    partition.write([NOW] * 5)
    with pytest.raises(LogShorter, match="recorded up to offset 5, but the log ends at 3"):
        take_over(partition.connection, partition.place, 0, 3)
    assert partition.write([NOW]).done == [True], "the token was not changed"


def test_dead_letters_go_with_the_events_of_their_time(partition: Partition) -> None:
    for days in (1, 3, 5):
        partition.connection.execute(
            "INSERT INTO dead_letters (source_topic_id, source_partition, source_offset, owner, source_topic, "
            "source_time, reason, sentence, first_seen) VALUES (%s, 0, %s, 'a/b/c', 't', now(), 'r', 's', "
            "now() - make_interval(days => %s))",
            (partition.place.topic_id, days, days),
        )
    maintain(partition.connection, NOW, Retention(4 * DAY_MS, DAY_MS))
    assert partition.query("SELECT source_offset FROM dead_letters ORDER BY 1") == [(1,), (3,)]
