"""The partitions that Kafka has assigned: taking over, failing, trying again, draining (design §6.5, §6.6)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from concurrent.futures import Executor

from confluent_kafka import OFFSET_END, Consumer, KafkaException, TopicPartition

from freshet.engine.layout import LayoutError
from freshet.processor.compiled import Compiled
from freshet.processor.outputs import OutputFailed
from freshet.processor.partition import SourceChanged, SourceTruncated
from freshet.processor.records import Records
from freshet.processor.runner import Flushed, Pace, Runner
from freshet.processor.takeover import Taking
from freshet.processor.vectors import due_vectors, tell_together
from freshet.runtime import metrics
from freshet.runtime.tries import Tries
from freshet.stores import kafka
from freshet.stores.deliveries import Continuity
from freshet.stores.fence import Refused, StoreDown, StoreFull
from freshet.stores.postgres import HistoryDown

log = logging.getLogger(__name__)

Failure = (
    Refused,
    StoreDown,
    StoreFull,
    HistoryDown,
    OutputFailed,
    SourceChanged,
    SourceTruncated,
    LayoutError,
    KafkaException,
)
"""What ends an ownership and is answered by taking over again."""


class Assignment:
    """Runners of the assigned partitions, those that are being rebuilt, and those that wait for another try."""

    def __init__(
        self,
        consumer: Consumer,
        topic: str,
        own: Callable[[int], Taking],
        io: Executor,
        pace: Pace,
        compiled: Compiled,
        featureset: str,
        continuity: Callable[[int], Continuity],
    ) -> None:
        """`own` takes a partition over; `continuity` says of one that was taken over which deliveries to believe."""
        self._consumer = consumer
        self._topic = topic
        self._own = own
        self._io = io
        self._pace = pace
        self._compiled = compiled
        self._featureset = featureset
        self._continuity = continuity
        self.runners: dict[int, Runner] = {}
        self.rebuilding: dict[int, Taking] = {}
        """Ours, but their states are still being brought back."""
        self._tries: Tries[int] = Tries()
        self.waiting = self._tries.waiting

    @property
    def busy(self) -> bool:
        """Whether something is to be looked after soon, though Kafka brings nothing."""
        return bool(self.rebuilding) or any(r.busy or r.backlog is not None for r in self.runners.values())

    def assigned(self, partitions: Iterable[int], now_ms: int) -> None:
        """Kafka gave us these: consume each from the offset in the store, never from Kafka's committed one."""
        places = [TopicPartition(self._topic, p, self._try(p, now_ms)) for p in partitions]
        self._consumer.incremental_assign(places)
        reading = {p for p, runner in self.runners.items() if runner.backlog is None}
        paused = [place for place in places if place.partition not in reading]
        if paused:
            self._consumer.pause(paused)
        # A partition that was paused when it was taken away comes back paused: the client remembers it.
        taken = [TopicPartition(self._topic, place.partition) for place in places if place.partition in reading]
        if taken:
            self._consumer.resume(taken)

    def dropped(self, partitions: Iterable[int]) -> None:
        """These are no longer ours; whatever is in memory is forgotten."""
        for p in partitions:
            self._forget(p)
            self._tries.over(p)

    def stop(self, partition: int, error: Exception, now_ms: int) -> None:
        """Stops consuming a partition, forgets all that is in memory of it, and takes it over again after a while."""
        try:
            self._consumer.pause([TopicPartition(self._topic, partition)])
        except KafkaException as problem:
            log.info("partition could not be paused", extra={"partition": partition, "error": str(problem)})
        self._failed(partition, error, now_ms)

    def _forget(self, partition: int) -> None:
        runner = self.runners.pop(partition, None)
        if runner is not None:
            runner.owner.close()
        taking = self.rebuilding.pop(partition, None)
        if taking is not None:
            taking.dropped.set()

    def _failed(self, partition: int, error: Exception, now_ms: int) -> None:
        self._forget(partition)
        waiting = self._tries.failed(partition, error, now_ms)
        metrics.STORE_REFUSALS.labels(self._featureset, waiting.reason).inc()
        log.warning(
            "partition stopped, will be taken over again",
            extra={
                "partition": partition,
                "reason": waiting.reason,
                "error": waiting.sentence,
                "retry_ms": waiting.wait_ms,
            },
        )

    def begin_anew(self, why: Exception, now_ms: int) -> None:
        """Stops every partition, and takes all of ours over again soon."""
        for partition in list(self.runners):
            self.stop(partition, why, now_ms)

    def retry(self, now_ms: int) -> None:
        """Tries partitions whose wait is over, and begins with those that are rebuilt."""
        for p, taking in list(self.rebuilding.items()):
            if taking.begun.done():
                del self.rebuilding[p]
                self._start(p, self._begin(p, taking, now_ms))
        for p in self._tries.due(now_ms):
            self._start(p, self._try(p, now_ms))

    def _start(self, partition: int, offset: int) -> None:
        """Lets Kafka deliver a partition that was paused, if it is to."""
        runner = self.runners.get(partition)
        if runner is not None and runner.backlog is None:
            self.restart(partition, offset)

    def backlogs(self) -> list[tuple[int, Records]]:
        """What there is to be taken from event logs. Partitions that are through with theirs go on with Kafka."""
        found = []
        for p, runner in list(self.runners.items()):
            backlog = runner.backlog
            if backlog is None:
                continue
            if backlog.over:
                runner.backlog = None
                runner.owner.reached(backlog.end)
                self.restart(p, backlog.end)
            elif (records := backlog.take()) is not None:
                found.append((p, records))
        return found

    def restart(self, partition: int, offset: int) -> None:
        """Makes Kafka deliver a partition from an offset again. What was fetched before is discarded by the client."""
        place = TopicPartition(self._topic, partition, offset)
        try:
            kafka.deliver_from(self._consumer, place)
            self._consumer.resume([place])
        except KafkaException as error:
            # Kafka took the partition away meanwhile: its callback comes with the next poll.
            log.info("partition could not be restarted", extra={"partition": partition, "error": str(error)})
            self.dropped([partition])

    def step(self, now_ms: int, *, behind: bool) -> list[Flushed]:
        """Sends the vectors that are due, and one step of every runner."""
        due = due_vectors(self.runners.values(), now_ms, behind=behind)
        for owner, problem in tell_together(self._compiled, due, now_ms):
            self.stop(owner.partition, problem, now_ms)
        flushed = []
        for p, runner in list(self.runners.items()):
            try:
                done = runner.step(now_ms, behind=behind)
            except Failure as error:
                self.stop(p, error, now_ms)
            else:
                if done is not None:
                    self._tries.over(p)
                    flushed.append(done)
        return flushed

    def drain(
        self, partitions: Iterable[int], clock: Callable[[], int], deadline_ms: int, poll: Callable[[], object]
    ) -> None:
        """Writes what is in memory and waits for its outputs, until all is stored or the deadline is reached."""
        left = {p: self.runners[p] for p in partitions if p in self.runners}
        while left and clock() < deadline_ms:
            poll()
            now_ms = clock()
            due = [(runner.owner, runner.owner.untold(now_ms)) for runner in left.values()]
            for owner, problem in tell_together(self._compiled, due, now_ms):
                _not_drained(owner.partition, problem)
                del left[owner.partition]
            for p, runner in list(left.items()):
                try:
                    runner.step(now_ms, behind=False, hurry=True)
                except Failure as error:
                    _not_drained(p, error)
                    del left[p]
                else:
                    if runner.owner.settled():
                        del left[p]

    def _try(self, partition: int, now_ms: int) -> int:
        """Takes a partition over; returns where to consume, or the log's end if it cannot be consumed yet."""
        try:
            taking = self._own(partition)
        except Failure as error:
            self._failed(partition, error, now_ms)
            return int(OFFSET_END)
        if taking.begun.done():
            return self._begin(partition, taking, now_ms)
        self._tries.begun(partition)
        self.rebuilding[partition] = taking
        return taking.log_end

    def _begin(self, partition: int, taking: Taking, now_ms: int) -> int:
        """The partition's states are as its progress says, or that could not be reached."""
        try:
            begun = taking.begun.result()
        except Failure as error:
            self._failed(partition, error, now_ms)
            return int(OFFSET_END)
        self._tries.begun(partition)  # two who take it from each other would go on at that for ever
        owner = taking.owner
        self.runners[partition] = Runner(
            owner, self._io, self._pace, taking.rebuild, self._continuity(partition), begun.backlog
        )
        if begun.lost:
            metrics.EVENTS_LOST.labels(self._featureset).inc(begun.lost)
            log.error(
                "events between the states and the log are gone; FRESHET_ON_GAP=skip goes on without them",
                extra={"partition": partition, "offsets": begun.lost, "from": owner.position},
            )
        log.info(
            "partition taken over",
            extra={"partition": partition, "offset": owner.position, "complete": owner.complete},
        )
        return owner.position


def _not_drained(partition: int, error: Exception) -> None:
    log.warning("partition not drained", extra={"partition": partition, "error": str(error)})
