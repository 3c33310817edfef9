"""What a processor cannot process: one dead letter each, payload untouched, and the good events of the batch go on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from freshet.dev.servers import EmbeddedKafka, EmbeddedValkey
from freshet.spec.partitioning import partition_of
from freshet.stores import kafka
from tests.integration.system import PARTITIONS, System

pytestmark = pytest.mark.server

NOW = time.time_ns() // 1_000_000


def event(**changes: object) -> bytes:
    """A good event of user_1, with changes."""
    whole = {"event_id": "e", "user_id": "user_1", "timestamp": NOW, "kind": "view", "amount": 1.5}
    return json.dumps({name: v for name, v in (whole | changes).items() if v != "absent"}).encode()


BAD: list[tuple[str, bytes | None]] = [
    ("not_json", b"{broken"),
    ("empty", b""),
    ("wrong_type", b"[1, 2]"),
    ("wrong_type", event(amount="much")),
    ("missing_field", event(kind="absent")),
    ("missing_key", event(user_id="absent")),
    ("bad_key", event(user_id="")),
    ("bad_key", event(user_id="x" * 600)),
    ("bad_key", event(user_id="a\0b")),
    ("missing_timestamp", event(timestamp="absent")),
    ("bad_timestamp", event(timestamp="2026-01-05T10:30:00")),
    ("bad_timestamp", event(timestamp="yesterday")),
    ("future", event(timestamp=NOW + 86_400_000)),
    ("bad_utf8", event().replace(b"view", b"vi\xff\xfew")),
    ("too_deep", event(extra="DEEP").replace(b'"DEEP"', b"[" * 5000 + b"]" * 5000)),
    ("too_large", event(extra="x" * 1_200_000)),
    ("empty", None),
]


@pytest.fixture
def system(
    tmp_path: Path, kafka: EmbeddedKafka, valkey: EmbeddedValkey, namespace: str, unique: Callable[[str], str]
) -> Iterator[System]:
    """A FeatureSet on the shared servers."""
    running = System(tmp_path, (kafka, valkey), namespace, unique)
    yield running
    running.close()


def test_every_kind_of_bad_record(system: System) -> None:
    topic = system.featureset.source.topic
    home = partition_of("user_1", PARTITIONS, "murmur2")
    foreign = next(f"user_{i}" for i in range(2, 99) if partition_of(f"user_{i}", PARTITIONS, "murmur2") != home)
    sent = {}
    records = [*BAD, ("misrouted", event(user_id=foreign))]
    offset = 0
    for reason, value in records:
        system.producer.produce(topic, key="key", value=value, partition=home)
        sent[offset] = (reason, value)
        system.producer.produce(topic, key="user_1", value=event(event_id=f"good{offset}"), partition=home)
        offset += 2
    system.producer.flush()
    system.processor()
    system.wait_processed()
    letters = {int(headers["freshet-offset"]): (headers, value) for headers, value in dead_letters(system, len(sent))}
    assert letters.keys() == sent.keys()
    for at, (reason, value) in sent.items():
        headers, payload = letters[at]
        assert (headers["freshet-reason"], payload) == (reason, value), headers
        assert headers["freshet-sentence"]
        assert (headers["freshet-topic"], headers["freshet-partition"]) == (topic, str(home))
    assert system.value("user_1", "ever") == len(records)
    assert system.value(foreign, "ever") == 0


def dead_letters(system: System, count: int) -> list[tuple[dict[str, str], bytes | None]]:
    """The first letters, and any more that come within a second."""
    consumer = kafka.consumer(system.settings, "letters")
    consumer.assign([TopicPartition(system.dead_letters, p, 0) for p in range(PARTITIONS)])
    found: list[tuple[dict[str, str], bytes | None]] = []
    end = time.monotonic() + 30
    while time.monotonic() < end:
        for message in consumer.consume(100, 0.3):
            if message.error() is None:
                pairs: Any = message.headers() or []
                headers = {name: (v or b"").decode() for name, v in pairs}
                found.append((headers, message.value()))
        if len(found) >= count:
            end = min(end, time.monotonic() + 1)
    consumer.close()
    return found
