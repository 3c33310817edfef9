"""The real ingest service on a free port of this process, and what Kafka holds after it."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from confluent_kafka import Consumer, Message, TopicPartition

from freshet.ingest.service import Service
from freshet.runtime.settings import IngestSettings, KafkaSettings
from freshet.spec.definition import FeatureSet
from freshet.spec.load import parse_featureset
from freshet.stores import kafka

MANIFEST = """
apiVersion: freshet.dev/v1alpha1
kind: FeatureSet
metadata: {{name: {name}}}
spec:
  version: v1
  entity: {{name: {entity}, key: {key}}}
  source:
    topic: {topic}
    partitions: 3
    replication: 1
    maxFutureSkew: 5m
    fields:
      event_type: {{type: string, required: {required}}}
      amount: {{type: double, minimum: 0}}
  features:
    - {{name: activity_count, aggregate: count, windows: [1h]}}
"""


def featureset(
    topic: str, name: str = "activity", entity: str = "user", key: str = "user_id", required: str = "true"
) -> FeatureSet:
    """A small FeatureSet over this topic."""
    return parse_featureset(MANIFEST.format(topic=topic, name=name, entity=entity, key=key, required=required))


@contextmanager
def serving(bootstrap: str, featuresets: list[FeatureSet], **changes: Any) -> Iterator[str]:
    """The service until the block ends; gives its URL."""
    settings = IngestSettings(manifests=(), kafka=KafkaSettings(bootstrap=bootstrap), grace_seconds=5, **changes)
    service = Service(featuresets, settings)
    server = uvicorn.Server(service.config())
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def records(bootstrap: str, topic: str) -> list[Message]:
    """All records of a topic, by partition and offset."""
    client = kafka.consumer(KafkaSettings(bootstrap=bootstrap), "test-reader")
    try:
        return [message for partition in _partitions(client, topic) for message in _read(client, topic, partition)]
    finally:
        client.close()


def values(bootstrap: str, topic: str) -> list[dict[str, Any]]:
    """Their values, decoded."""
    return [json.loads(message.value() or b"null") for message in records(bootstrap, topic)]


def _partitions(client: Consumer, topic: str) -> list[int]:
    return sorted(client.list_topics(topic, timeout=10).topics[topic].partitions)


def _read(client: Consumer, topic: str, partition: int) -> list[Message]:
    low, high = kafka.log_bounds(client, topic, partition)
    found: list[Message] = []
    client.assign([TopicPartition(topic, partition, low)])
    while low < high and (not found or (found[-1].offset() or 0) < high - 1):
        message = client.poll(10)
        assert message is not None
        if message.error() is None:
            found.append(message)
    client.unassign()
    return found
