"""Whole topics, read back with keys and headers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, TopicPartition

from freshet.engine.control import Headers
from freshet.runtime.settings import KafkaSettings
from freshet.stores import kafka

_SILENCE_SECONDS = 30.0


class Message(NamedTuple):
    """One record."""

    partition: int
    offset: int
    broker_ms: int
    value: bytes | None
    key: bytes | None
    headers: Headers

    def header(self, name: str) -> str | None:
        """A header's text; None where there is none."""
        return next(((value or b"").decode() for found, value in self.headers if found == name), None)


def read(settings: KafkaSettings, topic: str) -> list[Message]:
    """All records by partition and offset, up to the present ends."""
    return sorted((_message(one) for one in _records(settings, topic)), key=lambda message: message[:2])


def read_values(settings: KafkaSettings, topic: str) -> Iterator[bytes]:
    """The values alone, in no order."""
    return (one.value() or b"" for one in _records(settings, topic))


def _records(settings: KafkaSettings, topic: str) -> Iterator[Any]:
    client = kafka.consumer(settings, "chaos-reader")
    try:
        partitions = client.list_topics(topic, timeout=_SILENCE_SECONDS).topics[topic].partitions
        client.assign([TopicPartition(topic, p, 0) for p in partitions])
        ended: set[int | None] = set()
        heard = time.monotonic()
        while len(ended) < len(partitions):
            messages = client.consume(10_000, 0.2)
            assert messages or time.monotonic() - heard < _SILENCE_SECONDS, f"{topic} cannot be read to its end"
            heard = time.monotonic() if messages else heard
            for message in messages:
                error = message.error()
                if error is None:
                    yield message
                elif error.code() == KafkaError._PARTITION_EOF:
                    ended.add(message.partition())
    finally:
        client.close()


def _message(message: Any) -> Message:
    at = message.partition(), message.offset(), message.timestamp()[1]
    return Message(*at, message.value(), message.key(), message.headers() or [])
