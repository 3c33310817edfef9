"""What ingest answers 202 for is in the log once, even where the client library sends a second time what Kafka has."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import KafkaError
from confluent_kafka.cimpl import NewTopic

from freshet.dev.errors import CommandFailed
from freshet.dev.kafka_cluster import EmbeddedKafkaCluster
from freshet.dev.restore import Lost, Span, require_complete
from freshet.ingest.delivery import Delivery, Shipment
from freshet.ingest.destinations import Record
from freshet.runtime.settings import KafkaSettings
from freshet.runtime.shutdown import Deadline
from freshet.spec.partitioning import partition_of
from freshet.stores import kafka as clients
from tests.chaos.proxy import Network, Proxy
from tests.integration.ingest_service import records

pytestmark = pytest.mark.server

PATIENCE_MS = 3000
FAR, NEAR = (next(f"k{i}" for i in range(100) if partition_of(f"k{i}", 2, "murmur2") == p) for p in (0, 1))
"""Keys of the partitions that the first and the second broker lead."""


@dataclass(frozen=True)
class Brokers:
    """Two real brokers, each behind a bad network."""

    settings: KafkaSettings
    far: Proxy
    near: Proxy

    def topic(self, name: str) -> str:
        """A partition on each broker, for small records only."""
        made = NewTopic(name, 2, replica_assignment=[[1], [2]], config={"max.message.bytes": "2000"})
        admin = clients.admin(self.settings)
        admin.create_topics([made])[name].result(30)
        return name


@pytest.fixture(scope="module")
def brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Brokers]:
    network = Network()
    far, near = network.proxy(0), network.proxy(0)
    try:
        with EmbeddedKafkaCluster(tmp_path_factory.mktemp("brokers"), 2, [far.port, near.port]) as kafka:
            far.target, near.target = (node.port for node in kafka.nodes)
            yield Brokers(KafkaSettings(bootstrap=kafka.bootstrap), far, near)
    finally:
        network.close()


class Sender:
    """Sends single records as ingest does, and remembers what became of them."""

    def __init__(self, brokers: Brokers, topic: str) -> None:
        self.delivery = Delivery(brokers.settings, "murmur2", memory_bytes=1 << 20, acknowledge_timeout_ms=PATIENCE_MS)
        self.sent: dict[str, Shipment] = {}
        self._brokers, self._topic = brokers, topic

    def send(self, key: str, value: bytes | None = None) -> str:
        """Hands a record over; returns its number."""
        number = str(len(self.sent))
        shipment = self.delivery.begin(1, 100)
        self.delivery.send(shipment, self._topic, [Record(0, key.encode(), value or number.encode())])
        self.sent[number] = shipment
        return number

    def error(self, number: str) -> KafkaError | None:
        """Why a record was not acknowledged."""
        shipment = self.sent[number]
        return shipment.failed[0][1] if shipment.failed else None

    async def answered(self) -> None:
        """Waits until all records are reported."""
        await asyncio.wait_for(asyncio.gather(*(one.done for one in self.sent.values())), 30)

    def wrong(self) -> dict[str, int]:
        """Acknowledged records that are not in the log once: how often they are."""
        there = self.there()
        return {n: there[n] for n in self.sent if self.error(n) is None and there[n] != 1}

    def there(self) -> Counter[str]:
        """How often each record is in the log."""
        found = records(self._brokers.settings.bootstrap, self._topic)
        return Counter((message.value() or b"").decode(errors="replace") for message in found)


def run(brokers: Brokers, topic: str, story: Callable[[Sender], Coroutine[Any, Any, None]]) -> None:
    """Plays a story with a sender that has a connection to both brokers."""

    async def play() -> None:
        sender = Sender(brokers, topic)
        sender.delivery.start()
        try:
            for key in (FAR, NEAR):
                sender.send(key)
            await sender.answered()
            await story(sender)
        finally:
            brokers.far.listen()
            brokers.far.heal()
            sender.delivery.close(Deadline(10))

    asyncio.run(play())


@pytest.mark.parametrize("silence", [Proxy.mute, Proxy.stall])
def test_acknowledged_is_once_when_an_older_record_timed_out(
    brokers: Brokers, unique: Callable[[str], str], silence: Callable[[Proxy], None]
) -> None:
    topic = brokers.topic(unique("events"))

    async def story(sender: Sender) -> None:
        silence(brokers.far)
        first = sender.send(FAR)
        await asyncio.sleep(PATIENCE_MS / 1000 - 0.5)
        for _ in range(3):
            await asyncio.sleep(0.1)
            sender.send(FAR)
        await sender.sent[first].done
        brokers.far.heal()  # the younger ones are sent again, and in time
        await sender.answered()
        assert (error := sender.error(first)) is not None
        assert error.code() == KafkaError._MSG_TIMED_OUT
        assert sender.wrong() == {}
        assert max(sender.there().values()) == 2, "nothing was written twice: the fault missed its aim"
        sender.send(FAR)
        await sender.answered()
        assert sender.wrong() == {}

    run(brokers, topic, story)


def test_acknowledged_is_once_when_a_record_of_another_partition_was_refused(
    brokers: Brokers, unique: Callable[[str], str]
) -> None:
    topic = brokers.topic(unique("events"))

    async def story(sender: Sender) -> None:
        brokers.far.mute()
        written = sender.send(FAR)
        await asyncio.sleep(0.5)
        brokers.far.refuse()
        brokers.far.heal()
        await asyncio.sleep(0.2)
        refused = sender.send(NEAR, os.urandom(4000))
        await sender.sent[refused].done
        brokers.far.listen()
        await sender.answered()
        assert sender.wrong().keys() <= {refused}
        assert sender.there()[written] == 2, "it was not written twice: the fault missed its aim"
        assert (error := sender.error(written)) is not None
        assert "twice" in error.str()

    run(brokers, topic, story)


def test_a_record_that_is_refused_raises_no_doubt_of_the_others(brokers: Brokers, unique: Callable[[str], str]) -> None:
    topic = brokers.topic(unique("events"))

    async def story(sender: Sender) -> None:
        good = []
        for _ in range(20):
            good.append(sender.send(FAR))
            sender.send(NEAR, os.urandom(4000))
            await asyncio.sleep(0.02)
        await sender.answered()
        assert [sender.error(number) for number in good] == [None] * 20
        assert sender.wrong() == {}

    run(brokers, topic, story)


def test_a_producer_that_does_not_send_again_leaves_it_at_one(brokers: Brokers, unique: Callable[[str], str]) -> None:
    topic = brokers.topic(unique("events"))
    producer = clients.producer(brokers.settings, resend=False)
    told: list[KafkaError | None] = []

    def send(value: str) -> None:
        producer.produce(topic, value, FAR, on_delivery=lambda error, _message: told.append(error))

    send("first")
    producer.flush(10)
    brokers.far.mute()
    send("second")
    producer.flush(0.5)
    brokers.far.cut()
    brokers.far.heal()
    producer.flush(10)
    send("third")
    assert producer.flush(10) == 0
    assert [error is None for error in told] == [True, False, True]
    found = records(brokers.settings.bootstrap, topic)
    assert [message.value() for message in found] == [b"first", b"second", b"third"]


def test_a_topic_that_was_restored_with_a_record_too_many_is_refused(
    brokers: Brokers, unique: Callable[[str], str]
) -> None:
    topic = brokers.topic(unique("events"))
    producer = clients.producer(brokers.settings)
    for value in ("first", "second", "second"):
        producer.produce(topic, value, FAR)
    assert producer.flush(10) == 0
    far, near = partition_of(FAR, 2, "murmur2"), partition_of(NEAR, 2, "murmur2")
    require_complete(brokers.settings, Lost(topic, uuid4(), [Span(far, 4, 7), Span(near, 0, 0)]))
    with pytest.raises(CommandFailed, match="partition 0: 3 records are there instead of 2"):
        require_complete(brokers.settings, Lost(topic, uuid4(), [Span(far, 4, 6)]))
