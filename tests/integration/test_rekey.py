"""Re-keying on a real Kafka: every event once, in order, whatever happens to the stage."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource

from freshet.dev.exposition import total
from freshet.dev.http import NOT_ANSWERED, fetch
from freshet.dev.servers import EmbeddedKafka
from freshet.stores import kafka as stores
from tests.integration.rekeying import Load, Rig
from tests.integration.test_serving_failures import eventually

pytestmark = pytest.mark.server


@pytest.fixture
def rig(tmp_path: Path, kafka: EmbeddedKafka, unique: Callable[[str], str]) -> Iterator[Rig]:
    """A re-keyed FeatureSet on the shared Kafka."""
    with closing(Rig(tmp_path, kafka, unique)) as running:
        yield running


@pytest.fixture
def own_rig(tmp_path: Path, own_kafka: EmbeddedKafka, unique: Callable[[str], str]) -> Iterator[Rig]:
    """The same on a Kafka that the test may kill."""
    with closing(Rig(tmp_path, own_kafka, unique)) as running:
        yield running


def ready(rig: Rig, stage: subprocess.Popen[bytes]) -> dict[str, Any]:
    """What the stage says; nothing while it does not answer."""
    with suppress(*NOT_ANSWERED):
        found: dict[str, Any] = fetch(f"http://127.0.0.1:{rig.ports[stage.pid]}", "/ready").json()
        return found
    return {}


def metric(rig: Rig, stage: subprocess.Popen[bytes], name: str) -> float:
    page = fetch(f"http://127.0.0.1:{rig.ports[stage.pid]}", "/metrics").body.decode()
    return total(page, name)


def aborted(rig: Rig, stage: subprocess.Popen[bytes]) -> float:
    page = fetch(f"http://127.0.0.1:{rig.ports[stage.pid]}", "/metrics").body.decode()
    return sum(map(float, re.findall(r'^rekey_transactions_total{outcome="aborted",.*} (.+)$', page, re.MULTILINE)))


def loaded(rig: Rig, rate: float = 400, seed: int = 1) -> Load:
    load = Load(rig, rate, seed)
    load.start()
    return load


def later(load: Load, events: int) -> None:
    """Waits until so many events more were sent."""
    wanted = load.sent + events
    eventually(lambda: load.sent > wanted, 120)


def test_the_copies_are_the_mapping_of_the_origin(rig: Rig) -> None:
    load = loaded(rig)
    later(load, 500)
    stage = rig.stage()
    later(load, 2_000)
    load.stop()
    rig.wait_copied()
    eventually(lambda: metric(rig, stage, "rekey_lag") == 0, 10)
    assert metric(rig, stage, "rekey_read_total") == load.sent
    copies = sum(map(len, rig.wanted()))
    assert metric(rig, stage, "rekey_written_total") == copies
    assert metric(rig, stage, "rekey_skipped_total") == load.sent - copies
    stage.terminate()
    assert stage.wait(20) == 0
    rig.assert_exact()


@pytest.mark.parametrize("where", ["before", "offsets", "after"])
def test_a_stage_that_is_killed_around_its_commit(rig: Rig, where: str) -> None:
    load = loaded(rig)
    for number in (3, 9):
        stage = rig.stage("tests.integration.dying_stage", where, str(number))
        assert stage.wait(60) == -signal.SIGKILL
    rig.stage()
    later(load, 1_000)
    load.stop()
    rig.wait_copied()
    rig.assert_exact()


def test_a_stage_that_stands_says_where_and_ends(rig: Rig) -> None:
    load = loaded(rig)
    stage = rig.stage("tests.integration.dying_stage", "offsets", "5", "STAND")
    assert stage.wait(60) == 1
    assert "in _commit" in rig.log().read_text()
    rig.stage()
    later(load, 400)
    load.stop()
    rig.wait_copied()
    rig.assert_exact()


def test_a_zombie_is_fenced(rig: Rig) -> None:
    load = loaded(rig)
    first = rig.stage()
    eventually(lambda: len(ready(rig, first).get("partitions", ())) == 3, 60)
    later(load, 500)
    os.kill(first.pid, signal.SIGSTOP)
    second = rig.stage()
    eventually(lambda: len(ready(rig, second).get("partitions", ())) == 3, 60)
    later(load, 500)
    os.kill(first.pid, signal.SIGCONT)
    eventually(lambda: 0 < len(ready(rig, first).get("partitions", ())) < 3, 60)
    later(load, 500)
    load.stop()
    rig.wait_copied()
    rig.assert_exact()


def test_a_lone_stage_that_slept_over_its_transaction(rig: Rig) -> None:
    load = loaded(rig)
    stage = rig.stage()
    eventually(lambda: len(ready(rig, stage).get("partitions", ())) == 3, 60)
    later(load, 500)
    os.kill(stage.pid, signal.SIGSTOP)
    time.sleep(22)  # longer than session and transaction may last, and than Kafka takes to look
    os.kill(stage.pid, signal.SIGCONT)
    later(load, 500)
    load.stop()
    rig.wait_copied()
    rig.assert_exact()


def test_two_stages_share_the_work_and_hand_it_over(rig: Rig) -> None:
    load = loaded(rig)
    first = rig.stage()
    later(load, 1_000)
    second = rig.stage()
    eventually(lambda: 0 < len(ready(rig, second).get("partitions", ())) < 3, 60)
    later(load, 500)
    first.terminate()
    assert first.wait(20) == 0
    third = rig.stage()
    eventually(lambda: 0 < len(ready(rig, third).get("partitions", ())) < 3, 60)
    later(load, 500)
    second.kill()
    eventually(lambda: len(ready(rig, third).get("partitions", ())) == 3, 60)
    later(load, 500)
    load.stop()
    rig.wait_copied()
    rig.assert_exact()


def test_a_broker_that_is_killed(own_rig: Rig) -> None:
    load = loaded(own_rig, 400)
    stage = own_rig.stage()
    eventually(lambda: len(ready(own_rig, stage).get("partitions", ())) == 3, 60)
    for _ in range(2):
        later(load, 400)
        own_rig.kafka.kill()
        time.sleep(2)
        own_rig.kafka.start()
        eventually(lambda: len(ready(own_rig, stage).get("partitions", ())) == 3, 90)
    later(load, 400)
    load.stop()
    own_rig.wait_copied(90)
    own_rig.assert_exact()


@pytest.mark.parametrize("idle", [False, True])
def test_a_stage_whose_broker_is_silent_is_not_ready(own_rig: Rig, idle: bool) -> None:
    load = loaded(own_rig, 400)
    stage = own_rig.stage()
    eventually(lambda: len(ready(own_rig, stage).get("partitions", ())) == 3, 60)
    later(load, 400)
    if idle:
        load.stop()
        own_rig.wait_copied()
    own_rig.kafka.process.send_signal(signal.SIGSTOP)
    eventually(lambda: not ready(own_rig, stage).get("ready", True), 20)
    own_rig.kafka.process.send_signal(signal.SIGCONT)
    eventually(lambda: ready(own_rig, stage).get("ready", False), 90)
    assert len(ready(own_rig, stage)["partitions"]) == 3
    load = loaded(own_rig, 400, seed=2) if idle else load
    later(load, 400)
    load.stop()
    own_rig.wait_copied(90)
    own_rig.assert_exact()


def writer_of(rig: Rig) -> str:
    """Who writes, as the committed offsets say."""
    asked = [ConsumerGroupTopicPartitions(rig.group)]
    found: set[str] = set()

    def said() -> bool:
        answer: Any = rig.admin.list_consumer_group_offsets(asked)[rig.group].result()
        found.update(place.metadata.split()[3] for place in answer.topic_partitions)
        return bool(found)

    eventually(said, 20)  # a commit is answered a moment before its offsets are seen
    (name,) = found
    return name


def test_a_producer_that_somebody_fences(rig: Rig) -> None:
    load = loaded(rig)
    stage = rig.stage()
    for _ in range(8):
        eventually(lambda: len(ready(rig, stage).get("partitions", ())) == 3, 60)
        name = writer_of(rig)
        assert name.startswith(f"{rig.group}/")
        stores.producer(rig.settings, transactional_id=name, delivery_timeout_ms=10_000).init_transactions(10)
        later(load, 200)
    load.stop()
    rig.wait_copied()
    assert aborted(rig, stage) >= 8
    rig.assert_exact()


def stopped(rig: Rig, stage: subprocess.Popen[bytes], reason: str) -> bool:
    said = ready(rig, stage)
    return bool(said) and not said["ready"] and any(w.startswith(reason) for w in said["stopped"].values())


def test_an_origin_made_anew_stops_the_stage_until_somebody_decides(rig: Rig) -> None:
    load = loaded(rig)
    stage = rig.stage()
    later(load, 500)
    load.stop()
    rig.wait_copied()
    rig.assert_exact()
    before = rig.records(rig.topic)
    rig.admin.delete_topics([rig.origin])[rig.origin].result(30)
    eventually(lambda: rig.origin not in rig.admin.list_topics(timeout=10).topics, 30)
    rig.make_origin()
    # Kafka forgets the offsets with the topic: then nothing tells how much was copied.
    eventually(lambda: stopped(rig, stage, "O"), 60)
    for number in range(2_000):
        rig.send("user_1", json.dumps({"n": f"new {number}", "card_id": number}).encode())
    assert rig.producer.flush(30) == 0
    time.sleep(6)
    assert rig.records(rig.topic) == before
    places = [TopicPartition(rig.origin, p, 0) for p in range(3)]
    stage.kill()
    stage.wait()
    eventually(lambda: _set_offsets(rig, places), 30)
    rig.stage()
    eventually(lambda: sum(map(len, rig.records(rig.topic))) == sum(map(len, before)) + 2_000, 60)


def _set_offsets(rig: Rig, places: list[TopicPartition]) -> bool:
    """As kafka-consumer-groups.sh does it; while the dead member counts as one, Kafka refuses."""
    try:
        asked = [ConsumerGroupTopicPartitions(rig.group, places)]
        answer: Any = rig.admin.alter_consumer_group_offsets(asked)[rig.group].result()
    except Exception:
        return False
    return all(place.error is None for place in answer.topic_partitions)


def test_what_the_origin_dropped_before_it_was_copied_is_told(rig: Rig) -> None:
    load = loaded(rig)
    stage = rig.stage()
    later(load, 500)
    load.stop()
    rig.wait_copied()
    stage.terminate()
    assert stage.wait(20) == 0
    before = sum(map(len, rig.records(rig.topic)))
    ends = [len(part) for part in rig.records(rig.origin)]
    for number in range(300):
        rig.send("user_1", json.dumps({"n": f"gone {number}", "card_id": number}).encode())
    assert rig.producer.flush(30) == 0
    (p,) = [p for p, part in enumerate(rig.records(rig.origin)) if len(part) > ends[p]]
    cut = TopicPartition(rig.origin, p, ends[p] + 200)
    rig.admin.delete_records([cut])[cut].result(30)

    stage = rig.stage()
    eventually(lambda: stopped(rig, stage, "OriginTruncated"), 60)
    eventually(lambda: list(ready(rig, stage)["stopped"]) == [str(p)], 60)  # the others may have waited for Kafka
    why = ready(rig, stage)["stopped"][str(p)]
    assert f"partition {p} of {rig.origin} begins at offset {ends[p] + 200}" in why
    assert "200 offsets were deleted" in why
    assert len(ready(rig, stage)["partitions"]) == 2, "the others go on"
    stage.terminate()
    assert stage.wait(20) == 0
    stage = rig.stage(FRESHET_ON_GAP="skip")
    eventually(lambda: sum(map(len, rig.records(rig.topic))) == before + 100, 60)
    assert metric(rig, stage, "rekey_lost_total") == 200


def test_a_record_that_the_topic_does_not_take(rig: Rig) -> None:
    stage = rig.stage()
    rig.send("user_1", json.dumps({"card_id": 1, "n": 1}).encode())
    big = b'{"card_id": 2, "n": "%s"}' % os.urandom(450_000).hex().encode()
    rig.send("user_1", big)
    assert rig.producer.flush(30) == 0
    rig.wait_copied()
    rig.assert_exact()
    stage.terminate()
    assert stage.wait(20) == 0
    alter(rig, "max.message.bytes", "100000")
    rig.send("user_1", json.dumps({"card_id": 3, "n": 3}).encode())
    rig.send("user_1", big.replace(b'"card_id": 2', b'"card_id": 4'))
    rig.send("user_1", json.dumps({"card_id": 5, "n": 5}).encode())
    assert rig.producer.flush(30) == 0
    stage = rig.stage()
    eventually(lambda: stopped(rig, stage, "TooLarge"), 60)
    assert sum(map(len, rig.records(rig.topic))) == 3
    alter(rig, "max.message.bytes", "2000000")
    rig.wait_copied()
    rig.assert_exact()


def alter(rig: Rig, name: str, value: str) -> None:
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, rig.topic, incremental_configs=[entry])
    rig.admin.incremental_alter_configs([resource])[resource].result(30)
