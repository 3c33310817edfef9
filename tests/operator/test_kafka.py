"""What Kafka says, on a real one; and what is said while it is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from freshet.dev.kafka_server import EmbeddedKafka
from freshet_operator.model import Topic
from freshet_operator.observe.kafka import Interest, Kafka

pytestmark = pytest.mark.server
CONFIG = (("message.timestamp.type", "LogAppendTime"), ("retention.ms", "3600000"))


def client(bootstrap: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": bootstrap})


def commit(bootstrap: str, group: str, topic: str, partition: int, offset: int) -> None:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False})
    consumer.commit(offsets=[TopicPartition(topic, partition, offset)], asynchronous=False)
    consumer.close()


def test_topics_are_made_described_and_deleted(kafka: EmbeddedKafka, unique: Callable[[str], str]) -> None:
    async def run() -> None:
        seen = Kafka(client(kafka.bootstrap))
        name = unique("t")
        interest = Interest(frozenset({name}))
        assert (await seen.seen(interest)).topics == {}
        topic = Topic(name, 3, 1, CONFIG, True)
        await seen.create_topic(topic)
        await seen.create_topic(topic)  # by another replica meanwhile
        found = (await seen.seen(interest)).topics[name]
        assert (found.partitions, found.timestamp_type, found.retention_ms) == (3, "LogAppendTime", 3_600_000)
        assert found.topic_id
        await seen.delete_topic(name)
        await seen.delete_topic(name)
        for _ in range(100):  # a broker learns a moment later what the controller has decided
            if (await Kafka(client(kafka.bootstrap)).seen(interest)).topics == {}:
                return
            await asyncio.sleep(0.1)
        raise AssertionError("the topic is still there")

    asyncio.run(run())


def test_a_refusal_of_kafka_is_raised(kafka: EmbeddedKafka, unique: Callable[[str], str]) -> None:
    topic = Topic(unique("t"), 1, 9, (), True)  # nine copies on one broker
    with pytest.raises(KafkaException):
        asyncio.run(Kafka(client(kafka.bootstrap)).create_topic(topic))


def test_lag_counts_what_is_kept_and_not_committed(kafka: EmbeddedKafka, unique: Callable[[str], str]) -> None:
    async def run() -> None:
        now = 0.0
        seen = Kafka(client(kafka.bootstrap), clock=lambda: now)
        name, group = unique("t"), unique("g")
        await seen.create_topic(Topic(name, 2, 1, CONFIG, True))
        producer = Producer({"bootstrap.servers": kafka.bootstrap})
        for i in range(10):
            producer.produce(name, b"x", partition=i % 2)
        producer.flush(10)
        interest = Interest(frozenset({name}), name, group)
        while (await seen.seen(interest)).lag is None:  # Kafka loads its groups when it is asked the first time
            now += 11.0
            await asyncio.sleep(0.1)
        assert (await seen.seen(interest)).lag == 10
        await asyncio.to_thread(commit, kafka.bootstrap, group, name, 0, 4)
        assert (await seen.seen(interest)).lag == 10, "asked again within ten seconds"
        now += 11.0
        assert (await seen.seen(interest)).lag == 6
        await seen.delete_group(group)
        await seen.delete_group(group)
        assert (await seen.seen(interest)).lag == 10

    asyncio.run(run())


def test_many_ask_together_and_kafka_is_asked_once(kafka: EmbeddedKafka, unique: Callable[[str], str]) -> None:
    async def run() -> None:
        admin = Counted(client(kafka.bootstrap))
        seen = Kafka(admin)  # type: ignore[arg-type]
        names = [unique("t") for _ in range(40)]
        answers = await asyncio.gather(*(seen.seen(Interest(frozenset({name}))) for name in names))
        assert all(answer.error is None for answer in answers)
        assert admin.calls == 1

    asyncio.run(run())


def test_a_new_process_asks_for_all_at_once(kafka: EmbeddedKafka, unique: Callable[[str], str]) -> None:
    async def run() -> None:
        topic = unique("t")
        await Kafka(client(kafka.bootstrap)).create_topic(Topic(topic, 2, 1, CONFIG, True))
        admin = Counted(client(kafka.bootstrap))
        seen = Kafka(admin)  # type: ignore[arg-type]
        interests = [Interest(frozenset({topic}), topic, unique(f"g{i}")) for i in range(20)]
        seen.keep(interests)
        for interest in interests:  # one after another
            assert (await seen.seen(interest)).error is None
        assert (admin.calls, admin.groups) == (1, 20)

    asyncio.run(run())


def test_groups_of_one_topic_share_what_is_asked_about_it(kafka: EmbeddedKafka, unique: Callable[[str], str]) -> None:
    async def run() -> None:
        now = 0.0
        topic = unique("t")
        await Kafka(client(kafka.bootstrap)).create_topic(Topic(topic, 2, 1, CONFIG, True))
        admin = Counted(client(kafka.bootstrap))
        seen = Kafka(admin, clock=lambda: now)  # type: ignore[arg-type]
        for i in range(10):
            now += 0.4
            assert (await seen.seen(Interest(frozenset({topic}), topic, unique(f"g{i}")))).error is None
        assert (admin.calls, admin.ends, admin.groups) == (1, 2, 10)  # first and last offsets are two questions
        now += 11
        assert (await seen.seen(Interest(frozenset({topic}), topic, unique("g0")))).error is None
        assert (admin.calls, admin.ends, admin.groups) == (2, 4, 11)

    asyncio.run(run())


class Counted:
    """Counts the questions about topics, their ends and groups."""

    def __init__(self, client: AdminClient) -> None:
        self._client = client
        self.calls = self.ends = self.groups = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._client, name)

    def list_offsets(self, *arguments: object, **options: object) -> object:
        self.ends += 1
        return self._client.list_offsets(*arguments, **options)  # type: ignore[arg-type]

    def list_consumer_group_offsets(self, *arguments: object, **options: object) -> object:
        self.groups += 1
        return self._client.list_consumer_group_offsets(*arguments, **options)  # type: ignore[arg-type]

    def describe_topics(self, *arguments: object, **options: object) -> object:
        self.calls += 1
        return self._client.describe_topics(*arguments, **options)  # type: ignore[arg-type]


def test_while_kafka_is_away_it_is_said_at_once_and_tried_seldom(own_kafka: EmbeddedKafka) -> None:
    async def run() -> None:
        admin = Counted(client(own_kafka.bootstrap))
        seen = Kafka(admin)  # type: ignore[arg-type]
        interest = Interest(frozenset({"t"}))
        await asyncio.to_thread(own_kafka.kill)
        assert (await seen.seen(interest)).error is not None
        began = time.monotonic()
        for _ in range(100):
            assert (await seen.seen(interest)).error is not None
        assert time.monotonic() - began < 1
        assert admin.calls == 1
        await asyncio.to_thread(own_kafka.start)
        end = time.monotonic() + 40
        while (await seen.seen(interest)).error is not None:
            assert time.monotonic() < end, "Kafka is back, and nobody noticed"
            await asyncio.sleep(0.2)
        assert admin.calls <= 2 + (time.monotonic() - began) / 5

    asyncio.run(run())
