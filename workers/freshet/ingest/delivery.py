"""Records to Kafka, and word back to the requests that wait: one poll thread, few wake-ups of the event loop.

Memory is bounded by a budget of bytes that a request takes before its first record goes to the client library;
so a request is refused as a whole, never in the middle.
"""

from __future__ import annotations

import asyncio
import logging
import threading
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

_log = logging.getLogger(__name__)


class NoRoom(Exception):
    """The budget of bytes that wait for the broker is used up."""


class Shipment:
    """The records of one request on their way. Its future is done when the broker has answered for all of them."""

    __slots__ = ("_delivery", "_left", "done", "failed", "size")

    def __init__(self, delivery: Delivery, records: int, size: int) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.failed: list[tuple[int, KafkaError]] = []
        """Index and error of each record that the broker did not take; complete when `done` is."""
        self.size = size
        self._delivery = delivery
        self._left = records

    def acknowledged(self, doubts: int, index: int, error: KafkaError | None, _message: Any) -> None:
        """Delivery report of one record that was handed over after that many doubts; called by the poll thread only."""
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
        self._memory = memory_bytes
        self._used = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._finished: deque[Shipment] = deque()
        self._refused: deque[tuple[Any, KafkaError]] = deque()  # reported by the poll thread, as all others are
        self._waking = False
        self._broken = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._poll, name=f"delivery-{partitioner}", daemon=True)

    def start(self) -> None:
        """Begins to deliver; to be called in the event loop whose requests will wait."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def begin(self, records: int, size: int) -> Shipment:
        """Takes room for a request with this many records of `size` bytes in all. Raises NoRoom."""
        needed = size + records * _RECORD_BYTES
        if self._used + needed > self._memory:
            raise NoRoom
        self._used += needed
        return Shipment(self, records, needed)

    def send(self, shipment: Shipment, topic: str, records: Sequence[Record]) -> None:
        """Hands records to the client library; never blocks. What it refuses counts as failed."""
        doubts = self.doubts.count  # before the producer has any of them
        produce = self._producer.produce
        for record in records:
            report = partial(shipment.acknowledged, doubts, record.index)
            try:
                produce(topic, record.value, record.key, on_delivery=report)
            except BufferError:
                self._refused.append((report, KafkaError(KafkaError._QUEUE_FULL)))  # noqa: SLF001
            except KafkaException as error:
                self._refused.append((report, error.args[0]))

    def waiting(self) -> int:
        """Records that the broker has not answered for."""
        return len(self._producer)

    def replace_producer(self) -> None:
        """The client library has given up (its sequence is lost): the next records go through a new producer."""
        self._broken.set()

    def finish(self, shipment: Shipment) -> None:
        """Wakes the event loop for a shipment that is complete; called by the poll thread."""
        self._finished.append(shipment)
        if not self._waking:
            self._waking = True
            assert self._loop is not None
            try:
                self._loop.call_soon_threadsafe(self._wake)
            except RuntimeError:
                _log.info("a request had ended before its events were acknowledged")  # the loop is closed

    def _wake(self) -> None:
        self._waking = False
        while self._finished:
            shipment = self._finished.popleft()
            self._used -= shipment.size
            if not shipment.done.done():
                shipment.done.set_result(None)

    def _poll(self) -> None:
        old: list[Producer] = []
        while not self._closed.is_set():
            self._producer.poll(0.1)
            self._report_refused()
            if not len(self._producer):
                self.doubts.settle()
            if self._broken.is_set():
                self._broken.clear()
                _log.warning("the Kafka producer failed for good and is replaced")
                old.append(self._producer)
                self._producer = self._new_producer()
            for producer in old:
                producer.poll(0)
            old = [producer for producer in old if len(producer)]
            metrics.PRODUCER_QUEUE.set(len(self._producer))

    def _report_refused(self) -> None:
        while self._refused:
            report, error = self._refused.popleft()
            report(error, None)

    def close(self, deadline: Deadline) -> int:
        """Waits for acknowledgements until the deadline; how many records are left without one."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join()  # reports of a shipment must not come from two threads
        self._report_refused()
        return int(self._producer.flush(deadline.left()))
