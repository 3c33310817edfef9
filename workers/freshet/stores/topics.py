"""Topics: what they are like, and making those that a FeatureSet manages.

An existing topic is never altered: whoever made it may have reasons.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.cimpl import NewTopic

from freshet.runtime.settings import ConfigurationError
from freshet.spec import topics
from freshet.spec.definition import FeatureSet
from freshet.stores.answers import answer

_ANSWER_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class TopicInfo:
    """A topic as the broker describes it."""

    name: str
    partitions: int
    topic_id: str
    """Changes when a topic is deleted and made anew: offsets of the two have nothing in common."""
    timestamp_type: str | None
    """LogAppendTime or CreateTime; None if the configuration may not be read."""
    retention_ms: int | None
    """-1: for ever; None if the configuration may not be read."""


def describe_topic(client: AdminClient, topic: str, timeout_seconds: float = _ANSWER_SECONDS) -> TopicInfo:
    """The topic as it is now. Raises KafkaException if there is none or the broker does not answer in time."""
    found = client.describe_topics(TopicCollection([topic]), request_timeout=timeout_seconds)
    description = answer(found[topic], timeout_seconds)
    config = topic_config(client, topic, timeout_seconds)
    retention = config.get("retention.ms")
    return TopicInfo(
        name=topic,
        partitions=len(description.partitions),
        topic_id=str(description.topic_id),
        timestamp_type=config.get("message.timestamp.type"),
        retention_ms=None if retention is None else int(retention),
    )


def topic_uuid(topic_id: str) -> UUID:
    """A topic's id, which clients write as 22 digits of base 64, as the uuid that it is. Raises ValueError."""
    return UUID(bytes=base64.b64decode(topic_id.replace("-", "+").replace("_", "/") + "==", validate=True))


def topic_config(client: AdminClient, topic: str, timeout_seconds: float = _ANSWER_SECONDS) -> dict[str, str]:
    """A topic's settings; empty if they may not be read. Raises KafkaException."""
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    try:
        asked = client.describe_configs([resource], request_timeout=timeout_seconds)[resource]
        entries = answer(asked, timeout_seconds)
    except KafkaException as error:
        if error.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            return {}  # reading records does not include the right to read the configuration
        raise
    return {name: entry.value for name, entry in entries.items()}


def wanted_topics(
    featuresets: Iterable[FeatureSet], dead_letter_topic: str, replication: int | None = None
) -> dict[str, NewTopic]:
    """The topics that these FeatureSets manage, by name.

    `replication` replaces the manifests' number (one broker on a laptop). Raises ConfigurationError if two of them
    want one topic in different ways.
    """
    wanted: dict[str, topics.Topic] = {}
    owners: dict[str, str] = {}
    asked = [(fs, one) for fs in featuresets for one in topics.wanted_topics(fs, replication, dead_letter_topic)]
    for featureset, topic in sorted(asked, key=lambda pair: pair[1].lenient):
        old = wanted.get(topic.name, topic)
        if topic.manage and topic.name == featureset.source.topic and old != topic:
            raise ConfigurationError(
                f"topic {topic.name}: FeatureSets {owners[topic.name]} and {featureset.name} manage it with "
                "different partitions, replication or retention; make spec.source of both equal"
            )
        if topic.manage and topic.name not in wanted:
            wanted[topic.name] = topic
            owners[topic.name] = featureset.name
    return {topic.name: _new(topic) for topic in wanted.values()}


def _new(topic: topics.Topic) -> NewTopic:
    return NewTopic(
        topic.name,
        num_partitions=topic.partitions,
        replication_factor=topic.replication,
        config=dict(topic.config),
    )


def ensure_topics(
    client: AdminClient,
    featuresets: Iterable[FeatureSet],
    dead_letter_topic: str,
    replication: int | None = None,
    timeout_seconds: float = 30.0,
) -> list[str]:
    """Makes the managed topics that are missing; returns their names once every partition has a leader.

    Raises ConfigurationError for contradicting manifests, KafkaException if Kafka refuses or does not answer.
    """
    wanted = wanted_topics(featuresets, dead_letter_topic, replication)
    existing = client.list_topics(timeout=_ANSWER_SECONDS).topics
    missing = [new for name, new in wanted.items() if name not in existing]
    if not missing:
        return []
    futures = client.create_topics(missing, request_timeout=timeout_seconds, operation_timeout=timeout_seconds)
    for future in futures.values():
        try:
            answer(future, timeout_seconds)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # another service was faster
                raise
    _wait_for_leaders(client, [new.topic for new in missing], timeout_seconds)
    return [new.topic for new in missing]


def _wait_for_leaders(client: AdminClient, names: list[str], timeout_seconds: float) -> None:
    end = time.monotonic() + timeout_seconds
    while True:
        seen = client.list_topics(timeout=_ANSWER_SECONDS).topics
        ready = [
            name
            for name in names
            if name in seen and seen[name].partitions and all(p.leader >= 0 for p in seen[name].partitions.values())
        ]
        if len(ready) == len(names):
            return
        if time.monotonic() >= end:
            waiting = ", ".join(sorted(set(names) - set(ready)))
            error = KafkaError(KafkaError.LEADER_NOT_AVAILABLE, f"topics {waiting} have no leader yet")
            raise KafkaException(error)
        time.sleep(0.1)
