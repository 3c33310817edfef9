"""Kafka: what others made is not touched, what cannot be is a condition, and its absence stops nothing else."""

from __future__ import annotations

import time
from typing import Any

import pytest

from freshet.dev.servers import EmbeddedKafka
from tests.cluster.api import Api, Object
from tests.cluster.conftest import Installer
from tests.cluster.installation import Installation
from tests.cluster.kafka import Topics
from tests.cluster.samples import featureset
from tests.cluster.snapshot import child_names

APPEND_TIME = {"message.timestamp.type": "LogAppendTime", "retention.ms": str(30 * 86_400_000)}
KAFKA_PATIENCE_SECONDS = 30


@pytest.fixture
def topics(kafka: EmbeddedKafka) -> Topics:
    """The shared Kafka's."""
    return Topics(kafka.bootstrap)


def _create(kube: Api, shared: Installation, name: str, topic: str = "", **spec: Any) -> Object:
    return kube.create(featureset(shared.namespace, name, topic or f"{shared.namespace}-{name}", **spec))


def test_an_existing_topic_is_used_and_never_altered(kube: Api, shared: Installation, topics: Topics) -> None:
    topic = f"{shared.namespace}-used"
    topics.make(topic, 2, APPEND_TIME)
    _create(kube, shared, "used")
    shared.wait_condition("used", "TopicsReady", "True", seconds=45)
    assert topics.config(topic)["retention.ms"] == APPEND_TIME["retention.ms"]


@pytest.mark.parametrize(
    ("reason", "partitions", "config", "told"),
    [
        ("PartitionMismatch", 5, APPEND_TIME, "5"),
        ("WrongTimestampType", 2, {**APPEND_TIME, "message.timestamp.type": "CreateTime"}, "CreateTime"),
        ("RetentionTooShort", 2, {**APPEND_TIME, "retention.ms": "3600000"}, "retention"),
    ],
)
def test_a_topic_that_does_not_fit_is_told(
    kube: Api, shared: Installation, topics: Topics, reason: str, partitions: int, config: dict[str, str], told: str
) -> None:
    name = reason.lower()
    topic = f"{shared.namespace}-{name}"
    topics.make(topic, partitions, config)
    _create(kube, shared, name)
    condition = shared.wait_condition(name, "TopicsReady", "False", reason, seconds=45)
    assert topic in condition["message"]
    assert told in condition["message"]
    assert topics.partitions(topic) == partitions, "nothing is changed"


def test_manage_false_waits_for_the_topic(kube: Api, shared: Installation, topics: Topics) -> None:
    topic = f"{shared.namespace}-theirs"
    _create(kube, shared, "theirs", source={"manage": False}, output=None)
    condition = shared.wait_condition("theirs", "TopicsReady", "False", "TopicMissing", seconds=45)
    assert topic in condition["message"]
    assert topics.partitions(topic) == 0
    topics.make(topic, 2, APPEND_TIME)
    shared.wait_condition("theirs", "TopicsReady", "True", seconds=45)


def test_the_later_of_two_that_want_a_topic_differently_is_told(
    kube: Api, shared: Installation, topics: Topics
) -> None:
    topic = f"{shared.namespace}-both"
    _create(kube, shared, "first", topic)
    shared.wait_condition("first", "TopicsReady", "True", seconds=45)
    time.sleep(1.1)  # creationTimestamp has whole seconds
    _create(kube, shared, "second", topic, source={"retention": "20d"})
    condition = shared.wait_condition("second", "TopicsReady", "False", "ResourceConflict", seconds=30)
    assert "first" in condition["message"]
    assert shared.condition("first", "TopicsReady")["status"] == "True"
    assert topics.config(topic)["retention.ms"] == str(8 * 86_400_000)


def test_two_of_different_sizes_share_the_dead_letters(kube: Api, shared: Installation, topics: Topics) -> None:
    """The dead letter topic is everybody's: its size is no reason for a conflict."""
    _create(kube, shared, "small", source={"partitions": 2})
    shared.wait_condition("small", "TopicsReady", "True", seconds=45)
    _create(kube, shared, "large", source={"partitions": 4}, processor={"maxReplicas": 4})
    shared.wait_condition("large", "TopicsReady", "True", seconds=45)
    assert topics.partitions(f"{shared.namespace}-large") == 4


def test_a_deleted_topic_comes_back(kube: Api, shared: Installation, topics: Topics) -> None:
    """A topic that somebody deletes is made anew at the next look; nobody is told by Kafka."""
    _create(kube, shared, "lost")
    shared.wait_condition("lost", "TopicsReady", "True", seconds=45)
    topic = f"{shared.namespace}-lost"
    topics.delete(topic)
    touch = {"metadata": {"annotations": {"touched": "now"}}}
    kube.patch("FeatureSet", shared.namespace, "lost", touch)
    shared.until(lambda: topics.partitions(topic) == 2, 45, "the topic is there again")


def test_kafka_that_is_away_is_told_soon_and_stops_nothing_else(
    kube: Api, own_kafka: EmbeddedKafka, install: Installer
) -> None:
    own_kafka.kill()
    installation = install(kafka=own_kafka.bootstrap)
    installation.until(lambda: _leads(installation), 20, "the operator leads")
    begun = time.monotonic()
    kube.create(featureset(installation.namespace, "shop", f"{installation.namespace}-events"))
    condition = installation.wait_condition(
        "shop", "TopicsReady", "Unknown", "KafkaUnavailable", KAFKA_PATIENCE_SECONDS
    )
    assert condition["message"]
    installation.until(
        lambda: {kind for kind, _ in child_names(kube, installation.namespace, "shop")} >= {"Deployment", "ConfigMap"},
        KAFKA_PATIENCE_SECONDS - (time.monotonic() - begun) + 5,
        "children without Kafka",
    )
    own_kafka.start()
    installation.wait_condition("shop", "TopicsReady", "True", seconds=60)
    assert Topics(own_kafka.bootstrap).partitions(f"{installation.namespace}-events") == 2


def test_kafka_that_goes_away_later_is_told_soon(kube: Api, own_kafka: EmbeddedKafka, install: Installer) -> None:
    installation = install(kafka=own_kafka.bootstrap)
    kube.create(featureset(installation.namespace, "shop", f"{installation.namespace}-events"))
    installation.wait_condition("shop", "TopicsReady", "True", seconds=45)
    before = child_names(kube, installation.namespace, "shop")
    own_kafka.kill()
    installation.until(
        lambda: installation.condition("shop", "TopicsReady")["reason"] == "KafkaUnavailable",
        KAFKA_PATIENCE_SECONDS,
        "KafkaUnavailable",
    )
    for kind, name in before:
        kube.delete(kind, installation.namespace, name)
    installation.until(
        lambda: child_names(kube, installation.namespace, "shop") == before, 30, "repaired without Kafka"
    )


def _leads(installation: Installation) -> bool:
    lease = installation.api.get("Lease", installation.namespace, "freshet-operator")
    return lease is not None and bool(lease["spec"].get("holderIdentity"))
