"""What may happen to recorders, PostgreSQL and Kafka while history is recorded: each record is there once, always."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from freshet.dev import children
from freshet.dev.servers import EmbeddedKafka, EmbeddedPostgres
from freshet.stores import kafka as kafka_clients
from tests.integration.local import eventually
from tests.integration.recording import Recording

pytestmark = pytest.mark.server


@pytest.fixture
def recording(
    tmp_path: Path, kafka: EmbeddedKafka, database: str, namespace: str, unique: Callable[[str], str]
) -> Iterator[Recording]:
    one = Recording(tmp_path, (kafka, database), namespace, unique)
    yield one
    one.close()


@pytest.fixture
def frail(
    tmp_path: Path, kafka: EmbeddedKafka, own_postgres: EmbeddedPostgres, namespace: str, unique: Callable[[str], str]
) -> Iterator[Recording]:
    """With a PostgreSQL that may be killed."""
    one = Recording(tmp_path, (kafka, own_postgres.create("history")), namespace, unique)
    yield one
    one.close()


def admin(recording: Recording) -> AdminClient:
    return kafka_clients.admin(recording.settings)


def test_recorders_that_are_killed_at_any_moment_lose_and_double_nothing(recording: Recording) -> None:
    rng = random.Random(7)
    processes = [recording.recorder(), recording.recorder()]
    for _ in range(4):
        until = time.monotonic() + rng.uniform(0.5, 2.5)
        while time.monotonic() < until:
            recording.send(30)
        victim = rng.randrange(2)
        processes[victim].kill()
        processes[victim].wait()
        processes[victim] = recording.recorder()
    recording.wait_recorded()
    recording.assert_recorded()


def test_one_that_is_stopped_past_its_session_and_wakes_up_writes_nothing_more(recording: Recording) -> None:
    first = recording.recorder()
    recording.send(300)
    recording.wait_recorded()
    os.kill(first.pid, signal.SIGSTOP)
    recording.recorder()
    recording.send(300)
    recording.wait_recorded()
    os.kill(first.pid, signal.SIGCONT)
    recording.send(300)
    recording.wait_recorded()
    recording.assert_recorded()
    eventually(lambda: bool(recording.ready(first).get("ready")), "the one that slept is a member again", 30)


def test_two_that_both_think_they_own_everything_leave_one_history(recording: Recording) -> None:
    """Two groups: Kafka gives every partition to both, so that only the fence is between them."""
    one = recording.recorder()
    recording.send(200)
    other = recording.recorder(FRESHET_NAMESPACE=recording.namespace + "x")

    def fenced() -> float:
        return sum(recording.metric(each, "recorder_failures_total") for each in (one, other))

    eventually(lambda: all(map(recording.ready, (one, other))), "both have started", 60)
    begun = time.monotonic()
    while time.monotonic() - begun < 6 or (not fenced() and time.monotonic() - begun < 60):
        recording.send(50)
    recording.wait_recorded()
    recording.assert_recorded()
    assert fenced() > 0, "they have met"


def test_a_clock_that_is_set_back(frail: Recording, own_postgres: EmbeddedPostgres) -> None:
    """What waits for a time of day would wait for an hour: rows for their transaction, partitions for another try."""
    process = frail.recorder(clock_off_seconds=1800)
    frail.send(200)
    frail.wait_recorded()
    process.send_signal(signal.SIGUSR1)
    frail.send(200)
    frail.wait_recorded()
    own_postgres.kill()
    frail.send(200)
    eventually(lambda: "PostgreSQL" in str(frail.ready(process).get("history")), "it says what is missing", 20)
    process.send_signal(signal.SIGUSR1)
    time.sleep(6)  # longer than any wait: what is waited for now is half an hour ahead
    process.send_signal(signal.SIGUSR1)
    own_postgres.start()
    frail.wait_recorded()
    frail.assert_recorded()


def test_postgres_may_be_killed_and_restarted_while_it_takes_rows(
    frail: Recording, own_postgres: EmbeddedPostgres
) -> None:
    process = frail.recorder()
    for _ in range(3):
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            frail.send(200)
        own_postgres.kill()
        frail.send(200)
        eventually(lambda: "PostgreSQL" in str(frail.ready(process).get("history")), "it says what is missing", 20)
        assert not frail.ready(process)["ready"]
        own_postgres.start()
    frail.wait_recorded()
    frail.assert_recorded()
    assert process.poll() is None, "it was never restarted"


def test_without_postgres_a_recorder_starts_waits_and_catches_up_with_little_memory(
    frail: Recording, own_postgres: EmbeddedPostgres
) -> None:
    own_postgres.kill()
    process = frail.recorder()
    eventually(lambda: frail.ready(process).get("history", "ok") != "ok", "it waits for PostgreSQL", 30)
    for _ in range(5):
        frail.send(4_000)
    time.sleep(3)
    resident = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    assert resident < 300 << 20
    own_postgres.start()
    frail.wait_recorded()
    frail.assert_recorded()


def test_a_topic_made_anew_is_another_history(recording: Recording) -> None:
    process = recording.recorder()
    recording.send(300)
    recording.wait_recorded()
    client = admin(recording)
    for future in client.delete_topics([recording.topic], operation_timeout=30).values():
        future.result()
    time.sleep(2)
    recording.make_topics()
    recording.producer = kafka_clients.producer(recording.settings)
    recording.send(100)
    eventually(
        lambda: recording.query("SELECT count(*) FROM event_log WHERE topic = %s", recording.topic) == [(400,)],
        "the new topic is recorded from its start",
        60,
    )
    ids = recording.query(
        "SELECT topic_id, count(*) FROM event_log WHERE topic = %s GROUP BY 1 ORDER BY 2 DESC", recording.topic
    )
    assert [count for _, count in ids] == [300, 100]
    assert process.poll() is None


def test_a_log_that_was_truncated_before_it_was_recorded_is_loud(recording: Recording) -> None:
    process = recording.recorder()
    recording.send(200)
    recording.wait_recorded()
    children.stop(process, 10)
    recording.send(400)
    ends = recording.ends(recording.topic)
    places = [TopicPartition(recording.topic, p, end - 20) for p, end in ends.items()]
    client = admin(recording)
    for future in client.delete_records(places).values():
        future.result()
    before = sum(recording.offsets(recording.topic).values())
    process = recording.recorder()
    recording.wait_recorded()
    missed = sum(ends.values()) - 20 * len(ends) - before
    eventually(lambda: recording.metric(process, "recorder_missed_total") == missed, "the metric says how many")
    told = recording.ready(process)["missed"]
    assert sum(told.values()) == missed
    assert "dropped by Kafka's retention before they were recorded" in recording.log().read_text()
    spans = recording.query("SELECT next_offset - first_offset FROM recorded WHERE topic = %s", recording.topic)
    assert spans == [(20,)] * 4, "history says from where it is whole"
    recording.send(10)
    recording.wait_recorded()


def test_a_recorder_hands_over_in_order_and_leaves_its_offsets_for_lag_tools(recording: Recording) -> None:
    first, second = recording.recorder(), recording.recorder()
    recording.send(500)
    both = (first, second)  # on a busy machine the second may be up before the first
    eventually(lambda: all(recording.ready(one).get("partitions") for one in both), "they share the partitions", 30)
    children.stop(first, 15)
    assert first.returncode == 0
    recording.send(100)
    recording.wait_recorded()
    recording.assert_recorded()
    children.stop(second, 15)
    consumer = kafka_clients.consumer(recording.settings, f"freshet.{recording.namespace}.recorder")
    places = consumer.committed([TopicPartition(recording.topic, p) for p in range(recording.partitions)], timeout=10)
    consumer.close()
    assert {p.partition: p.offset for p in places} == recording.ends(recording.topic)


def test_a_duplicate_is_known_after_a_restart_too(recording: Recording) -> None:
    event = json.dumps({"event_id": "same", "user_id": "u", "timestamp": time.time_ns() // 10**6, "kind": "view"})
    process = recording.recorder()
    for _ in range(2):
        recording.producer.produce(recording.topic, key="u", value=event)
        recording.producer.flush()
        recording.wait_recorded()
        children.stop(process, 10)
        process = recording.recorder()
    assert recording.query("SELECT status FROM event_log WHERE entity = 'u' ORDER BY \"offset\"") == [(0,), (1,)]


def test_vectors_are_recorded_as_they_were_sent(recording: Recording) -> None:
    vector = {
        "featureset": "recorded", "version": "v1", "revision": "0123456789", "user_id": "user_é", "partition": 2,
        "offset": 41, "as_of": 1_767_600_000_123, "features": {"n_1h": 3, "text": 'a "b" €', "none": None},
    }  # fmt: skip
    recording.producer.produce(recording.output, key="user_é", value=json.dumps(vector))
    recording.producer.produce(recording.output, key="user_é", value=b"no vector")
    recording.producer.flush()
    process = recording.recorder()
    recording.wait_recorded(recording.output)
    rows = recording.query(
        "SELECT featureset, version, revision, entity, source_partition, source_offset, "
        "(extract(epoch FROM as_of) * 1000)::bigint, features FROM feature_snapshots WHERE entity = 'user_é'"
    )
    assert rows == [("recorded", "v1", "0123456789", "user_é", 2, 41, vector["as_of"], vector["features"])]
    eventually(lambda: recording.metric(process, "recorder_refused_total") == 1, "what is no vector is counted")


def test_a_database_of_a_newer_version_is_left_alone_and_said(recording: Recording) -> None:
    process = recording.recorder()
    recording.send(20)
    recording.wait_recorded()
    children.stop(process, 10)
    with psycopg.connect(recording.url) as connection:
        connection.execute("INSERT INTO freshet.migrations (number) VALUES (9999)")
    process = recording.recorder()
    eventually(lambda: "migration 9999" in str(recording.ready(process).get("history")), "it says why", 30)


def test_one_whose_session_is_lost_says_so(
    tmp_path: Path, own_kafka: EmbeddedKafka, database: str, namespace: str, unique: Callable[[str], str]
) -> None:
    """Kafka is silent for longer than a session lasts: no partition is waited for then, as none is this one's."""
    recording = Recording(tmp_path, (own_kafka, database), namespace, unique)
    process = recording.recorder()
    recording.send(20)
    recording.wait_recorded()
    assert recording.ready(process)["group"] == "joined"
    own_kafka.process.send_signal(signal.SIGSTOP)
    eventually(lambda: recording.ready(process).get("group") == "not joined", "it is in no group", 30)
    assert not recording.ready(process)["ready"]
    own_kafka.process.send_signal(signal.SIGCONT)
    eventually(lambda: bool(recording.ready(process).get("ready")), "it is a member again", 60)
    recording.send(20)
    recording.wait_recorded()
    recording.assert_recorded()
    recording.close()
