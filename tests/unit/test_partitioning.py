"""Partitions agree with Java's producer (published vectors) and with librdkafka's (the real client)."""

from __future__ import annotations

import pytest
from confluent_kafka import Message, Producer
from hypothesis import given
from hypothesis import strategies as st

from freshet.engine.partitions import partitions_of
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


@given(st.lists(st.text(max_size=40)), st.integers(1, 100), st.sampled_from(PARTITIONERS))
def test_many_keys_at_once_lie_where_each_does(keys: list[str], partitions: int, partitioner: str) -> None:
    found = partitions_of(keys, partitions, partitioner)
    assert found.tolist() == [partition_of(key, partitions, partitioner) for key in keys]


def test_what_cannot_be_answered_is_refused() -> None:
    with pytest.raises(ValueError, match=r"partitioner: 'random' given, allowed are murmur2, consistent"):
        partition_of("a", 4, "random")
    with pytest.raises(ValueError, match="partitions: 0 given"):
        partition_of("a", 0, "murmur2")
    with pytest.raises(ValueError, match="partitions: 0 given"):
        partitions_of(["a"], 0, "murmur2")
