"""Records to Kafka, and word back to the requests that wait, all in the event loop.

The client library is asked for reports each millisecond while some are missing: a thread that waits for them costs a
fifth more an event, for waking it and for handing the interpreter to and fro.
Memory is bounded by a budget of bytes that a request takes before its first record goes to the client library;
so a request is refused as a whole, never in the middle.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from freshet.ingest.destinations import Record
from freshet.runtime import metrics
from freshet.runtime.settings import KafkaSettings
from freshet.runtime.shutdown import Deadline
from freshet.stores import kafka
from freshet.stores.doubts import Doubts

_RECORD_BYTES = 300
"""What the client library needs for a record beside its key and value."""

_DOUBTFUL = KafkaError(
    KafkaError._INCONSISTENT,  # noqa: SLF001  # the client's public name for it
    "its connection broke, and what was under way may have been written twice",
)

_SOON, _IDLE = 0.001, 0.1
"""Seconds between two looks for reports: while some are missing, and else (for what the client library logs)."""

_log = logging.getLogger(__name__)


class NoRoom(Exception):
    """The budget of bytes that wait for the broker is used up."""


class Shipment:
    """The records of one request on their way.

    Its future is done when the broker has answered for all of them, and says whether that was in time.
    """

    __slots__ = ("_delivery", "_left", "done", "failed", "late", "size")

    def __init__(self, delivery: Delivery, records: int, size: int) -> None:
        loop = asyncio.get_running_loop()
        self.done: asyncio.Future[bool] = loop.create_future()
        self.late = loop.time() + delivery.patience
        """When nobody waits any more."""
        self.failed: list[tuple[int, KafkaError]] = []
        """Index and error of each record that the broker did not take; complete when `done` is."""
        self.size = size
        self._delivery = delivery
        self._left = records

    def acknowledged(self, doubts: int, index: int, error: KafkaError | None, _message: Any) -> None:
        """Delivery report of one record that was handed over after that many doubts."""
        if error is None and doubts != self._delivery.doubts.count:
            error = _DOUBTFUL
        if error is not None:
            self.failed.append((index, error))
            if error.fatal() or error.code() == KafkaError._FATAL:  # noqa: SLF001  # the client's public name for it
                self._delivery.replace_producer()
        self._left -= 1
        if not self._left:
            self._delivery.finish(self)


class Delivery:
    """Sends records with one partitioner."""

    def __init__(
        self, settings: KafkaSettings, partitioner: str, *, memory_bytes: int, acknowledge_timeout_ms: int
    ) -> None:
        """Raises ConfigurationError for Kafka settings that the client does not know."""
        self.doubts = Doubts(kafka.LOG)
        self._new_producer = partial(
            kafka.producer,
            settings,
            partitioner,
            queue_kbytes=2 * memory_bytes // 1024,  # the budget below binds first
            delivery_timeout_ms=acknowledge_timeout_ms,
            doubts=self.doubts,
        )
        self._producer: Producer = self._new_producer()
        # The client library gives its verdict at this time, and looks at its clock once a second.
        self.patience = acknowledge_timeout_ms / 1000 + 1.5
        self._memory = memory_bytes
        self._used = 0
        self._under_way: deque[Shipment] = deque()
        self._old: list[Producer] = []
        """Replaced ones that have reports left."""
        self._broken = False
        self._waits = False
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begins to look for reports; to be called in the event loop whose requests will wait."""
        self._look_in(_IDLE)

    def begin(self, records: int, size: int) -> Shipment:
        """Takes room for a request with this many records of `size` bytes in all. Raises NoRoom."""
        needed = size + records * _RECORD_BYTES
        if self._used + needed > self._memory:
            raise NoRoom
        self._used += needed
        shipment = Shipment(self, records, needed)
        self._under_way.append(shipment)
        return shipment

    def send(self, shipment: Shipment, topic: str, records: Sequence[Record]) -> None:
        """Hands records to the client library; never blocks. What it refuses counts as failed."""
        doubts = self.doubts.count  # before the producer has any of them
        produce = self._producer.produce
        for record in records:
            report = partial(shipment.acknowledged, doubts, record.index)
            try:
                produce(topic, record.value, record.key, on_delivery=report)
            except BufferError:
                report(KafkaError(KafkaError._QUEUE_FULL), None)  # noqa: SLF001  # the client's public name for it
            except KafkaException as error:
                report(error.args[0], None)
        if not self._waits:
            self._waits = True
            self._look_in(_SOON)

    def waiting(self) -> int:
        """Records that the broker has not answered for."""
        return len(self._producer)

    def replace_producer(self) -> None:
        """The client library has given up (its sequence is lost): the next records go through a new producer."""
        self._broken = True

    def finish(self, shipment: Shipment) -> None:
        """Wakes the request of a shipment that is complete, if it still waits."""
        self._used -= shipment.size
        if not shipment.done.done():
            shipment.done.set_result(True)

    def _give_up(self) -> None:
        """Tells those who have waited too long; they are in the order of their time."""
        now = asyncio.get_running_loop().time()
        while self._under_way and (self._under_way[0].done.done() or self._under_way[0].late < now):
            shipment = self._under_way.popleft()
            if not shipment.done.done():
                shipment.done.set_result(False)

    def _look_in(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        self._look_in(_IDLE)  # whatever happens below
        self._producer.poll(0)
        if self._broken:
            self._broken = False
            _log.warning("the Kafka producer failed for good and is replaced")
            self._old.append(self._producer)
            self._producer = self._new_producer()
        for producer in self._old:
            producer.poll(0)
        self._old = [producer for producer in self._old if len(producer)]
        self._give_up()
        left = len(self._producer)
        metrics.PRODUCER_QUEUE.set(left)
        self._waits = bool(left or self._old)
        if self._waits:
            self._look_in(_SOON)
        else:
            self.doubts.settle()

    def close(self, deadline: Deadline) -> int:
        """Waits for acknowledgements until the deadline; how many records are left without one."""
        if self._timer is not None:
            self._timer.cancel()
        return int(self._producer.flush(deadline.left()))
