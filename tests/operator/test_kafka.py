"""What Kafka says, on a real one; and what is said while it is away."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

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


def reader(kafka: EmbeddedKafka, admin: Any = None, clock: Callable[[], float] = time.monotonic) -> Kafka:
    """As the operator makes it."""
    settings = {"bootstrap.servers": kafka.bootstrap}
    return Kafka(admin or client(kafka.bootstrap), lambda group: Consumer({**settings, "group.id": group}), clock)


def commit(bootstrap: str, group: str, topic: str, partition: int, offset: int) -> None:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False})
    consumer.commit(offsets=[TopicPartition(topic, partition, offset)], asynchronous=False)
    consumer.close()


def test_topics_are_made_described_and_deleted(kafka: EmbeddedKafka, unique: Callable[[str], str]) -> None:
    async def run() -> None:
        seen = reader(kafka)
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
            if (await reader(kafka).seen(interest)).topics == {}:
                return
            await asyncio.sleep(0.1)
        raise AssertionError("the topic is still there")

    asyncio.run(run())


def test_a_refusal_of_kafka_is_raised(kafka: EmbeddedKafka, unique: Callable[[str], str]) -> None:
    topic = Topic(unique("t"), 1, 9, (), True)  # nine copies on one broker
    with pytest.raises(KafkaException):
        asyncio.run(reader(kafka).create_topic(topic))


def test_lag_counts_what_is_kept_and_not_committed(kafka: EmbeddedKafka, unique: Callable[[str], str]) -> None:
    async def run() -> None:
        now = 0.0
        seen = reader(kafka, clock=lambda: now)
        name, group = unique("t"), unique("g")
        await seen.create_topic(Topic(name, 2, 1, CONFIG, True))
        producer = Producer({"bootstrap.servers": kafka.bootstrap})
        for i in range(10):
            producer.produce(name, b"x", partition=i % 2)
        producer.flush(10)
        interest = Interest(frozenset({name}), name, group)

        async def lag() -> int | None:
            for _ in range(100):
                if (found := (await seen.seen(interest)).lag) is not None:
                    return found
                await asyncio.sleep(0.1)  # it is read in the background
            return None

        assert await lag() == 10
        await asyncio.to_thread(commit, kafka.bootstrap, group, name, 0, 4)
        now += 301.0
        await seen.seen(interest)
        await asyncio.sleep(1.0)
        assert await lag() == 6
        assert (await seen.seen(interest, running=True)).lag is None, "processors say it themselves"
        await asyncio.to_thread(commit, kafka.bootstrap, group, name, 1, 5)
        assert await lag() == 1, "what was read before they ran does not count"
        await seen.delete_group(group)
        await seen.delete_group(group)
        now += 11.0
        assert await lag() == 10

    asyncio.run(run())


def test_a_new_kafka_without_any_group_does_not_end_the_process(own_kafka: EmbeddedKafka) -> None:
    """The admin client's own question for offsets does, with a segmentation fault: brokers are no coordinators yet."""
    code = """
import asyncio, sys
from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient
from freshet_operator.observe.kafka import Interest, Kafka
from freshet_operator.model import Topic

async def run():
    servers = {"bootstrap.servers": sys.argv[1]}
    seen = Kafka(AdminClient(servers), lambda group: Consumer({**servers, "group.id": group}))
    await seen.create_topic(Topic("t", 4, 1, (), True))
    for _ in range(20):
        found = await asyncio.gather(*(seen.seen(Interest(frozenset({"t"}), "t", f"g{i}")) for i in range(100)))
        if all(one.lag == 0 for one in found):
            return
        await asyncio.sleep(0.5)
    sys.exit(1)

asyncio.run(run())
"""
    done = subprocess.run(
        [sys.executable, "-c", code, own_kafka.bootstrap], capture_output=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr.decode()


def test_many_ask_together_and_kafka_is_asked_once(kafka: EmbeddedKafka, unique: Callable[[str], str]) -> None:
    async def run() -> None:
        admin = Counted(client(kafka.bootstrap))
        seen = reader(kafka, admin)
        names = [unique("t") for _ in range(40)]
        answers = await asyncio.gather(*(seen.seen(Interest(frozenset({name}))) for name in names))
        assert all(answer.error is None for answer in answers)
        assert admin.calls == 1

    asyncio.run(run())


def test_a_new_process_asks_for_all_at_once(kafka: EmbeddedKafka, unique: Callable[[str], str]) -> None:
    async def run() -> None:
        admin = Counted(client(kafka.bootstrap))
        seen = reader(kafka, admin)
        interests = [Interest(frozenset({unique(f"t{i}")})) for i in range(20)]
        seen.keep(interests)
        for interest in interests:  # one after another
            assert (await seen.seen(interest)).error is None
        assert admin.calls == 1

    asyncio.run(run())


def test_groups_of_one_topic_share_what_is_asked_about_it(kafka: EmbeddedKafka, unique: Callable[[str], str]) -> None:
    async def run() -> None:
        now = 0.0
        topic = unique("t")
        await reader(kafka).create_topic(Topic(topic, 2, 1, CONFIG, True))
        admin = Counted(client(kafka.bootstrap))
        seen = reader(kafka, admin, lambda: now)
        for i in range(10):
            now += 0.4
            assert (await seen.seen(Interest(frozenset({topic}), topic, unique(f"g{i}")))).error is None
        assert (admin.calls, admin.ends) == (1, 2)  # first and last offsets are two questions
        now += 11
        assert (await seen.seen(Interest(frozenset({topic}), topic, unique("g0")))).error is None
        assert (admin.calls, admin.ends) == (2, 4)

    asyncio.run(run())


class Counted:
    """Counts the questions about topics and their ends."""

    def __init__(self, client: AdminClient) -> None:
        self._client = client
        self.calls = self.ends = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._client, name)

    def list_offsets(self, *arguments: object, **options: object) -> object:
        self.ends += 1
        return self._client.list_offsets(*arguments, **options)  # type: ignore[arg-type]

    def describe_topics(self, *arguments: object, **options: object) -> object:
        self.calls += 1
        return self._client.describe_topics(*arguments, **options)  # type: ignore[arg-type]


def test_while_kafka_is_away_it_is_said_at_once_and_tried_seldom(own_kafka: EmbeddedKafka) -> None:
    async def run() -> None:
        admin = Counted(client(own_kafka.bootstrap))
        seen = reader(own_kafka, admin)
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
