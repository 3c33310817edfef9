"""States that come back after the store has lost them: from checkpoints, Kafka's log and the event log (decision 8)."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis
from confluent_kafka import TopicPartition

from freshet.dev.servers import EmbeddedKafka, EmbeddedPostgres, EmbeddedValkey
from freshet.engine.layout import FORMAT
from freshet.recorder import checkpoints
from freshet.stores.kafka import admin
from freshet.stores.postgres import connect
from freshet.stores.states import States
from tests.integration.history import History
from tests.integration.system import PARTITIONS, Load, System

pytestmark = pytest.mark.server


@pytest.fixture
def system(
    tmp_path: Path, kafka: EmbeddedKafka, namespace: str, unique: Callable[[str], str], database: str
) -> Iterator[System]:
    """A FeatureSet on a Valkey of its own, with a history database."""
    valkey = EmbeddedValkey(tmp_path / "own").start()
    running = System(tmp_path, (kafka, valkey), namespace, unique, postgres=database)
    yield running
    running.close()
    valkey.kill()


@pytest.fixture
def history(system: System, database: str) -> History:
    return History(system, database)


def truncate(system: System, offsets: list[int]) -> None:
    """Makes Kafka forget what is below."""
    topic = system.featureset.source.topic
    asked = [TopicPartition(topic, p, offset) for p, offset in enumerate(offsets)]
    client = admin(system.settings)
    for future in client.delete_records(asked).values():
        future.result(30)


def run_for(system: System, seconds: float, seed: int = 1) -> None:
    """Traffic for a while; then everything is processed."""
    load = Load(system, 1500, seed)
    load.start()
    time.sleep(seconds)
    load.stop()
    system.wait_processed()


def _make_format(history: History, number: int) -> None:
    """As if another version had written the states."""
    with connect(history.database) as connection:
        connection.execute("UPDATE entity_states SET state = set_byte(state, 0, %s)", (number,))


def flush(system: System) -> None:
    with redis.Redis.from_url(system.valkey.url) as store:
        store.flushall()


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)


def test_lifetime_features_come_back_that_only_a_checkpoint_has(system: System, history: History) -> None:
    system.processor()
    run_for(system, 3)
    taken = history.checkpoint()
    assert all(not isinstance(one, str) and one.everything for one in taken.values()), taken
    rows = system.rows()
    truncate(system, [one.offset for one in taken.values()])  # type: ignore[union-attr]
    run_for(system, 2, seed=2)
    flush(system)
    time.sleep(2)
    system.wait_processed()
    assert "another checkpoint" not in system.log().read_text()
    newer = system.rows()
    system.assert_exact(system.logs([sorted({*old, *new}) for old, new in zip(rows, newer, strict=True)]))


def test_a_second_checkpoint_holds_what_changed_since_the_first(
    system: System, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And waits for an event log that is a moment behind, as it always is while events come."""
    system.processor()
    run_for(system, 2)
    assert len(history.checkpoint()) == PARTITIONS
    begun = {p: States(history.database).latest(history.owner, p) for p in range(PARTITIONS)}
    for p, before in begun.items():
        assert before is not None
        history.record(p, before.offset, before.offset)
    load = Load(system, 1500, 3)
    load.start()
    time.sleep(2)
    load.stop()
    system.wait_processed()
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "_BEHIND_SECONDS", 0.2)
        assert all(isinstance(one, str) for one in history.checkpoint().values()), "the event log is behind"

    def record() -> None:
        time.sleep(1)
        for p, end in enumerate(system.ends()):
            before = begun[p]
            assert before is not None
            history.record(p, before.offset, end)

    with ThreadPoolExecutor(1) as behind:
        recording = behind.submit(record)
        taken = history.checkpoint()
        recording.result()
    assert all(not isinstance(one, str) and not one.everything for one in taken.values()), taken
    logs = system.logs()
    truncate(system, [one.offset for one in taken.values()])  # type: ignore[union-attr]
    flush(system)
    time.sleep(2)
    system.wait_processed()
    system.assert_exact(logs)


def test_a_checkpoint_of_a_busy_partition_is_of_one_moment(system: System, history: History) -> None:
    """Its filter is that of its offset: a duplicate across the boundary is told, and no event twice."""
    load = Load(system, 3000, 4)
    load.start()
    system.processor()
    until(lambda: all(p is not None and p.complete for p in system.progress()))
    time.sleep(1)
    taken = history.checkpoint()
    assert not any(isinstance(one, str) for one in taken.values()), taken
    time.sleep(1)
    flush(system)
    time.sleep(1)
    load.stop()
    system.wait_processed()
    system.assert_exact(system.logs())


def test_a_recorder_takes_them_by_itself(system: System, history: History) -> None:
    system.processor()
    system.recorder(FRESHET_CHECKPOINT_SECONDS="1")
    for seed in (8, 9):
        run_for(system, 2, seed)
        until(lambda: history.offsets() == system.ends())
    rows = system.rows()
    truncate(system, system.ends())
    run_for(system, 1, seed=10)
    flush(system)
    time.sleep(2)
    system.wait_processed()
    newer = system.rows()
    system.assert_exact(system.logs([sorted({*old, *new}) for old, new in zip(rows, newer, strict=True)]))


def test_killed_in_the_middle_of_restoring(system: System, history: History) -> None:
    system.processor()
    run_for(system, 3)
    taken = history.checkpoint()
    logs = system.logs()
    truncate(system, [one.offset for one in taken.values()])  # type: ignore[union-attr]
    system.close()
    for script in (2, 5, 4):
        flush(system)
        # The second one finds what the first one left.
        for dies in (script, 3):
            dying = system.processor(dies_before_script=dies)
            assert dying.wait(timeout=60) == -signal.SIGKILL
    assert any(p is not None and p.restoring for p in system.progress())
    system.processor()
    system.wait_processed()
    system.assert_exact(logs)


def test_states_of_the_format_before_are_read_and_those_of_no_known_one_are_told(
    system: System, history: History
) -> None:
    system.processor()
    run_for(system, 2)
    taken = history.checkpoint()
    logs = system.logs()
    truncate(system, [one.offset for one in taken.values()])  # type: ignore[union-attr]
    _make_format(history, 9)
    flush(system)
    until(lambda: "a state of format 9" in system.log().read_text())
    time.sleep(1)
    assert not any(p is not None and p.complete for p in system.progress())
    _make_format(history, FORMAT - 1)
    system.wait_processed()
    system.assert_exact(logs)


def test_what_kafka_has_forgotten_comes_from_the_event_log(system: System, history: History) -> None:
    first = system.processor()
    run_for(system, 2)
    stored = [p.offset for p in system.progress() if p is not None]
    os.kill(first.pid, signal.SIGTERM)
    first.wait(30)
    load = Load(system, 1500, 6)
    load.start()
    time.sleep(2)
    load.stop()
    logs, ends = system.logs(), system.ends()
    starts = [(end + offset) // 2 for end, offset in zip(ends, stored, strict=True)]
    for p, start in enumerate(starts):
        history.record(p, 0, start + 10)
    truncate(system, starts)
    system.processor()
    system.wait_processed()
    system.assert_exact(logs)


def test_events_that_are_nowhere_stop_their_partition_until_they_are_given_up(system: System, history: History) -> None:
    first = system.processor()
    run_for(system, 1)
    os.kill(first.pid, signal.SIGTERM)
    first.wait(30)
    load = Load(system, 1500, 7)
    load.start()
    time.sleep(1)
    load.stop()
    truncate(system, system.ends())
    stopped = system.processor()
    until(lambda: "SourceTruncated" in system.log().read_text())
    before = [p and p.offset for p in system.progress()]
    time.sleep(1)
    assert [p and p.offset for p in system.progress()] == before
    assert "set FRESHET_ON_GAP=skip" in system.log().read_text()
    stopped.kill()
    stopped.wait()
    system.processor(FRESHET_ON_GAP="skip")
    system.wait_processed()


def test_history_is_waited_for_where_kafka_is_not_enough(
    tmp_path: Path, kafka: EmbeddedKafka, namespace: str, unique: Callable[[str], str], own_postgres: EmbeddedPostgres
) -> None:
    valkey = EmbeddedValkey(tmp_path / "own").start()
    system = System(tmp_path, (kafka, valkey), namespace, unique, postgres=own_postgres.url)
    try:
        history = History(system, own_postgres.url)
        system.processor()
        run_for(system, 2)
        taken = history.checkpoint()
        logs = system.logs()
        truncate(system, [one.offset for one in taken.values()])  # type: ignore[union-attr]
        own_postgres.stop()
        flush(system)
        until(lambda: "HistoryDown" in system.log().read_text())
        assert not any(p is not None and p.complete for p in system.progress())
        own_postgres.start()
        system.wait_processed()
        system.assert_exact(logs)
    finally:
        system.close()
        valkey.kill()
