"""When a producer's log says that something may be written twice. The lines are librdkafka's own."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from freshet.runtime.settings import ConfigurationError, KafkaSettings
from freshet.stores import kafka
from freshet.stores.doubts import Doubts

FIRST = "changed PID{Invalid} -> PID{Id:0,Epoch:0} with base MsgId 1"
LEADER = "beginning partition drain: wait for outstanding requests to finish before producing to new leader"
RETRY = "beginning partition drain: drain before retrying"
SKIPPED = (
    "127.0.0.1:9092/1: ProduceRequest for t [0] with 1 message(s) failed due to skipped sequence numbers "
    "(PID{Id:0,Epoch:0}, base seq 3 > next seq 1) caused by previous failed request (NO_ERROR): recovering and retrying"
)
BUMP = "All partitions drained, bumped epoch to PID{Id:0,Epoch:1}"


def count(*lines: tuple[str, str]) -> int:
    doubts = Doubts(logging.getLogger("test"))
    for kind, text in lines:
        if kind == "settled":
            doubts.settle()
        else:
            doubts.log(logging.DEBUG, "%s [%s] %s", kind, "freshet#producer-1", f"[thrd:127.0.0.1:9092/1]: {text}")
    return doubts.count


def test_a_partition_that_nothing_was_sent_to_raises_none() -> None:
    assert count(("DRAIN", f"t [0] {LEADER}"), ("NEWPID", f"t [0] {FIRST}"), ("DRAIN", BUMP)) == 0


def test_a_new_epoch_after_something_without_an_answer_raises_one() -> None:
    assert count(("DRAIN", f"t [0] {RETRY}"), ("DRAIN", BUMP)) == 1
    assert count(("DRAIN", f"t [0] {RETRY}"), ("NEWPID", f"t [1] {FIRST}"), ("DRAIN", BUMP), ("DRAIN", BUMP)) == 1


def test_a_leader_that_changes_may_hide_the_answer_that_is_missing() -> None:
    known = ("NEWPID", f"t [0] {FIRST}")
    assert count(known, ("DRAIN", f"t [0] {LEADER}"), ("DRAIN", BUMP)) == 1


def test_what_is_reported_is_in_no_doubt() -> None:
    assert count(("DRAIN", f"t [0] {RETRY}"), ("settled", ""), ("DRAIN", BUMP)) == 0


def test_what_kafka_has_refused_is_not_there() -> None:
    assert count(("ERRSEQ", SKIPPED), ("DRAIN", f"t [0] {RETRY}"), ("DRAIN", BUMP)) == 0
    assert count(("DRAIN", f"t [0] {RETRY}"), ("ERRSEQ", SKIPPED), ("DRAIN", BUMP)) == 1
    assert count(("ERRSEQ", SKIPPED), ("DRAIN", f"t [1] {RETRY}"), ("DRAIN", BUMP)) == 1
    assert count(("ERRSEQ", SKIPPED), ("DRAIN", BUMP), ("DRAIN", f"t [0] {RETRY}"), ("DRAIN", BUMP)) == 1


def test_what_the_file_wants_to_hear_comes_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[dict[str, object]] = []
    monkeypatch.setattr(kafka, "Producer", lambda config, logger: made.append(config))
    file = tmp_path / "client.properties"
    file.write_text("debug=broker\n")
    kafka.producer(KafkaSettings(bootstrap="127.0.0.1:1", config_file=file), doubts=Doubts(logging.getLogger("test")))
    kafka.producer(KafkaSettings(bootstrap="127.0.0.1:1", config_file=file))
    assert [config["debug"] for config in made] == ["broker,eos", "broker"]
    file.write_text("log_level=3\n")
    with pytest.raises(ConfigurationError, match="log_level is set by Freshet"):
        kafka.producer(KafkaSettings(bootstrap="127.0.0.1:1", config_file=file))
