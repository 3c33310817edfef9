"""What Kafka never answers is an error in time, and the next question is for another client."""

from __future__ import annotations

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
    assert watch.look(1_000_000) is None
    assert (Silent.made, "no answer" in (watch.away or "")) == (2, True)


def test_so_does_a_recorder() -> None:
    watch = TopicWatch(CONNECT)
    try:
        assert not watch.look(["raw"], 1_000_000)
        while watch.problem == "Kafka was not asked yet":
            time.sleep(0.01)
            assert not watch.look(["raw"], 1_000_000)
        assert (Silent.made, "no answer" in (watch.problem or "")) == (2, True)
    finally:
        watch.close()
