"""The partitions that Kafka has assigned: taking over, failing, trying again, draining (design §6.5, §6.6)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass

from confluent_kafka import OFFSET_END, Consumer, KafkaException, TopicPartition

from freshet.engine.layout import LayoutError
from freshet.processor.outputs import OutputFailed
from freshet.processor.partition import PartitionOwner, SourceChanged, SourceTruncated
from freshet.processor.runner import Flushed, Pace, Runner
from freshet.runtime import metrics
from freshet.stores.fence import Refused, StoreDown, StoreFull

log = logging.getLogger(__name__)

_FIRST_WAIT_MS = 100
_LONGEST_WAIT_MS = 5_000

Failure = (Refused, StoreDown, StoreFull, OutputFailed, SourceChanged, SourceTruncated, LayoutError, KafkaException)
"""What ends an ownership and is answered by taking over again."""


@dataclass(slots=True)
class Waiting:
    """An assigned partition that nobody works on at the moment."""

    reason: str
    sentence: str
    at_ms: int
    """When to try again."""
    wait_ms: int


class Assignment:
    """Runners of the assigned partitions, and those that wait for another try."""

    def __init__(
        self,
        consumer: Consumer,
        topic: str,
        own: Callable[[int], tuple[PartitionOwner, int]],
        io: Executor,
        pace: Pace,
        featureset: str,
    ) -> None:
        """`own` takes a partition over and returns its owner and the offset to consume from."""
        self._consumer = consumer
        self._topic = topic
        self._own = own
        self._io = io
        self._pace = pace
        self._featureset = featureset
        self.runners: dict[int, Runner] = {}
        self.waiting: dict[int, Waiting] = {}

    def assigned(self, partitions: Iterable[int], now_ms: int) -> None:
        """Kafka gave us these: consume each from the offset in the store, never from Kafka's committed one."""
        places = [TopicPartition(self._topic, p, self._try(p, now_ms)) for p in partitions]
        self._consumer.incremental_assign(places)
        paused = [place for place in places if place.partition in self.waiting]
        if paused:
            self._consumer.pause(paused)
        # A partition that was paused when it was taken away comes back paused: the client remembers it.
        taken = [TopicPartition(self._topic, p) for p in self.runners if p in {place.partition for place in places}]
        if taken:
            self._consumer.resume(taken)

    def dropped(self, partitions: Iterable[int]) -> None:
        """These are no longer ours; whatever is in memory is forgotten."""
        for p in partitions:
            self.runners.pop(p, None)
            self.waiting.pop(p, None)

    def stop(self, partition: int, error: Exception, now_ms: int) -> None:
        """Stops consuming a partition, forgets all that is in memory of it, and takes it over again after a while."""
        try:
            self._consumer.pause([TopicPartition(self._topic, partition)])
        except KafkaException as problem:
            log.info("partition could not be paused", extra={"partition": partition, "error": str(problem)})
        self._failed(partition, error, now_ms)

    def _failed(self, partition: int, error: Exception, now_ms: int) -> None:
        self.runners.pop(partition, None)
        before = self.waiting.get(partition)
        wait = min(2 * before.wait_ms, _LONGEST_WAIT_MS) if before else _FIRST_WAIT_MS
        reason = type(error).__name__
        self.waiting[partition] = Waiting(reason, str(error), now_ms + wait, wait)
        metrics.STORE_REFUSALS.labels(self._featureset, reason).inc()
        log.warning(
            "partition stopped, will be taken over again",
            extra={"partition": partition, "reason": reason, "error": str(error), "retry_ms": wait},
        )

    def retry(self, now_ms: int) -> None:
        """Tries partitions whose wait is over."""
        for p, waiting in list(self.waiting.items()):
            if now_ms < waiting.at_ms:
                continue
            offset = self._try(p, now_ms)
            if p in self.runners:
                self.restart(p, offset)

    def restart(self, partition: int, offset: int) -> None:
        """Makes Kafka deliver a partition from an offset again. What was fetched before is discarded by the client."""
        place = TopicPartition(self._topic, partition, offset)
        try:
            self._consumer.incremental_unassign([place])
            self._consumer.incremental_assign([place])
            self._consumer.resume([place])
        except KafkaException as error:
            # Kafka took the partition away meanwhile: its callback comes with the next poll.
            log.info("partition could not be restarted", extra={"partition": partition, "error": str(error)})
            self.dropped([partition])

    def step(self, now_ms: int, *, behind: bool) -> list[Flushed]:
        """One step of every runner."""
        flushed = []
        for p, runner in list(self.runners.items()):
            try:
                done = runner.step(now_ms, behind=behind)
            except Failure as error:
                self.stop(p, error, now_ms)
            else:
                if done is not None:
                    flushed.append(done)
        return flushed

    def drain(
        self, partitions: Iterable[int], clock: Callable[[], int], deadline_ms: int, poll: Callable[[], object]
    ) -> None:
        """Writes what is in memory and waits for its outputs, until all is stored or the deadline is reached."""
        left = {p: self.runners[p] for p in partitions if p in self.runners}
        while left and clock() < deadline_ms:
            poll()
            for p, runner in list(left.items()):
                try:
                    runner.step(clock(), behind=False, hurry=True)
                except Failure as error:
                    log.warning("partition not drained", extra={"partition": p, "error": str(error)})
                    del left[p]
                else:
                    if runner.owner.settled():
                        del left[p]

    def _try(self, partition: int, now_ms: int) -> int:
        """Takes a partition over; returns where to consume, or the log's end if that failed and has to wait."""
        try:
            owner, offset = self._own(partition)
        except Failure as error:
            self._failed(partition, error, now_ms)
            return int(OFFSET_END)
        self.waiting.pop(partition, None)
        self.runners[partition] = Runner(owner, self._io, self._pace)
        log.info(
            "partition taken over",
            extra={"partition": partition, "offset": offset, "complete": owner.complete},
        )
        return offset
