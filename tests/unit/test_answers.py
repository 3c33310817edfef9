"""What Kafka never answers is an error in time, and the next question is for another client."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, cast

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from freshet.processor.source import SourceWatch
from freshet.recorder.topic_watch import TopicWatch
from freshet.rekey.offsets import Offsets
from freshet.spec.load import parse_featureset
from freshet.stores.answers import answer
from freshet.stores.topics import TopicInfo
from tests.integration.rekeying import MANIFEST

SOURCE = parse_featureset(MANIFEST.format(topic="raw")).source


class Silent:
    """An administration client whose connection broke while it asked."""

    made = 0

    def __init__(self) -> None:
        Silent.made += 1

    def describe_topics(self, topics: TopicCollection, *, request_timeout: float) -> Mapping[str, Future[Any]]:
        assert request_timeout > 0
        return {name: Future() for name in ("raw", SOURCE.topic, SOURCE.origin or "")}


CONNECT = cast(Callable[[], AdminClient], Silent)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    Silent.made = 0
    monkeypatch.setattr("freshet.stores.answers._GRACE_SECONDS", 0.01)
    for module in ("rekey.offsets", "recorder.topic_watch"):
        monkeypatch.setattr(f"freshet.{module}._ANSWER_SECONDS", 0.01)
    monkeypatch.setattr("freshet.stores.topics.describe_topic.__defaults__", (0.01,))


def test_what_comes_is_what_was_answered() -> None:
    good: Future[int] = Future()
    good.set_result(1)
    assert answer(good, 0.01) == 1
    bad: Future[int] = Future()
    bad.set_exception(KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)))
    with pytest.raises(KafkaException, match="TOPIC_AUTHORIZATION_FAILED"):
        answer(bad, 0.01)
    with pytest.raises(KafkaException, match=r"no answer within 0\.02 s"):
        answer(Future(), 0.01)


def test_a_stage_that_is_not_answered_asks_with_another_client() -> None:
    offsets = Offsets(CONNECT, cast(Consumer, None), SOURCE, skip=False)
    with pytest.raises(KafkaException, match="no answer"):
        offsets.look()
    assert Silent.made == 2


def test_so_does_a_processor() -> None:
    watch = SourceWatch(CONNECT, SOURCE)
    while watch.away is None:
        assert watch.look(1_000_000) is None
        time.sleep(0.01)
    assert (Silent.made, "no answer" in watch.away) == (2, True)


def test_a_processor_does_not_wait_for_what_it_only_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = threading.Event()
    answers = [TopicInfo("t", SOURCE.partitions, name, None, None) for name in ("old", "old", "new")]

    def describe(_client: AdminClient, _topic: str) -> TopicInfo:
        assert asked.wait(20)
        return answers.pop(0)

    monkeypatch.setattr("freshet.processor.source.describe_topic", describe)
    watch = SourceWatch(CONNECT, SOURCE)
    asked.set()
    assert watch.current().topic_id == "old"
    asked.clear()
    assert watch.look(1_000_000) is None, "it came back while nobody answers"
    asked.set()
    while len(answers) > 1:
        time.sleep(0.01)
    assert "made anew" not in (watch.look(1_020_000) or "")
    while watch.problem is None:
        time.sleep(0.01)
        watch.look(1_040_000)
    assert "made anew" in watch.problem


def test_an_answer_that_a_take_over_has_overtaken_counts_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    late = threading.Event()
    ids = iter(["old", "new"])

    def describe(_client: AdminClient, _topic: str) -> TopicInfo:
        in_main = threading.current_thread() is threading.main_thread()
        assert in_main or late.wait(20)
        return TopicInfo("t", SOURCE.partitions, next(ids) if in_main else "old", None, None)

    monkeypatch.setattr("freshet.processor.source.describe_topic", describe)
    watch = SourceWatch(CONNECT, SOURCE)
    watch.current()
    watch.look(1_000_000)
    watch.current()
    assert watch.problem is not None
    late.set()
    for _ in range(20):
        time.sleep(0.01)
        assert watch.look(1_000_000) is not None


def test_so_does_a_recorder() -> None:
    watch = TopicWatch(CONNECT)
    assert not watch.look(["raw"], 1_000_000)
    while watch.problem == "Kafka was not asked yet":
        time.sleep(0.01)
        assert not watch.look(["raw"], 1_000_000)
    assert (Silent.made, "no answer" in (watch.problem or "")) == (2, True)
