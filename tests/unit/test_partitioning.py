"""Partitions agree with Java's producer (published vectors) and with librdkafka's (the real client)."""

from __future__ import annotations

import pytest
from confluent_kafka import Message, Producer

from freshet.spec.partitioning import PARTITIONERS, murmur2, partition_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("21", -973932308),
        ("foobar", -790332482),
        ("a-little-bit-long-string", -985981536),
        ("a-little-bit-longer-string", -1486304829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        ("abc", 479470107),
    ],
)
def test_murmur2_gives_the_values_of_kafkas_own_test(text: str, expected: int) -> None:
    assert murmur2(text.encode()) == expected % (1 << 32)


@pytest.mark.parametrize("partitioner", PARTITIONERS)
def test_partitions_are_those_of_librdkafka(partitioner: str) -> None:
    keys = [f"user_{i}" for i in range(50)] + ["é", "日本語", "x" * 511, "a:{b}", "12345", "\x01"]
    found: dict[bytes | None, int | None] = {}

    def delivered(error: object, message: Message) -> None:
        assert error is None
        found[message.key()] = message.partition()

    producer = Producer({"bootstrap.servers": "none", "test.mock.num.brokers": 1, "partitioner": partitioner})
    for key in keys:
        producer.produce("topic", key=key.encode(), value=b"", on_delivery=delivered)
    assert producer.flush(20) == 0
    assert found == {key.encode(): partition_of(key, 4, partitioner) for key in keys}


def test_what_cannot_be_answered_is_refused() -> None:
    with pytest.raises(ValueError, match=r"partitioner: 'random' given, allowed are murmur2, consistent"):
        partition_of("a", 4, "random")
    with pytest.raises(ValueError, match="partitions: 0 given"):
        partition_of("a", 0, "murmur2")
