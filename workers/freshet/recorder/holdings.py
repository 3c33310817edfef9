"""The partitions that Kafka has given this recorder: taking over, failing, trying again (design §6.6, for history)."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from confluent_kafka import OFFSET_END, Consumer, KafkaException, TopicPartition

from freshet.engine.duplicates import DuplicateFilter
from freshet.recorder.batch import Batch
from freshet.recorder.fence import Step, Taken
from freshet.recorder.judge import Judge
from freshet.recorder.rows import Place, Rows
from freshet.recorder.topics import Role
from freshet.recorder.writer import Also
from freshet.runtime.tries import Tries
from freshet.stores import kafka
from freshet.stores.deliveries import Continuity

log = logging.getLogger(__name__)

Key = tuple[str, int]
"""Topic and partition."""


class TopicUnknown(Exception):
    """The topic is gone, is new and not described yet, or is no longer to be recorded."""


class LogEndChanged(Exception):
    """What comes next is not in the log: it was dropped or cut while it was being read."""


@dataclass(slots=True, eq=False)
class Owned:
    """A partition that this process records."""

    place: Place
    partitions: int
    """Of the topic."""
    role: Role
    token: UUID
    position: int
    """The next offset to take."""
    recorded: int
    """`next_offset` in the database, or as the transaction on its way will leave it."""
    log_ms: int
    judge: Judge | None
    duplicates: DuplicateFilter | None
    continuity: Continuity
    """Says which deliveries of Kafka are to be believed."""
    _begins: deque[tuple[int, int]]
    """Log time at the end of recent batches, and the offset at which they begin."""
    gathered: list[Batch] = field(default_factory=list)
    """Taken, and not looked at yet."""
    rows: list[Rows] = field(default_factory=list)
    """Looked at, and in no transaction yet."""
    also: list[Also] = field(default_factory=list)
    """What belongs to them."""
    pending_rows: int = 0
    pending_bytes: int = 0

    @classmethod
    def of(
        cls,
        place: Place,
        partitions: int,
        role: Role,
        taken: Taken,
        judge: Judge | None,
        duplicates: DuplicateFilter | None,
        continuity: Continuity,
    ) -> Owned:
        """As it is just after a take-over."""
        begins = deque([(taken.log_ms, taken.duplicates_from)])
        at = taken.next_offset
        return cls(place, partitions, role, taken.token, at, at, taken.log_ms, judge, duplicates, continuity, begins)

    @property
    def key(self) -> Key:
        """Topic and partition."""
        return self.place.topic, self.place.partition

    def take(self, batch: Batch) -> None:
        """Takes the next records."""
        self.gathered.append(batch)
        self.log_ms = max(self.log_ms, int(batch.broker_ms.max()))
        self._begins.append((self.log_ms, int(batch.offset[0])))
        self.position = int(batch.offset[-1]) + 1
        self.pending_rows += len(batch)
        self.pending_bytes += sum(len(value) for value in batch.values if value is not None)

    def step(self) -> Step:
        """What a transaction of all that was taken moves."""
        oldest = self.log_ms - (self.judge.deduplicate_ms if self.judge else 0)
        while len(self._begins) > 1 and self._begins[0][0] < oldest:
            self._begins.popleft()
        return Step(self.place, self.token, self.recorded, self.position, self.log_ms, self._begins[0][1])

    def sent(self) -> None:
        """That transaction is on its way: nothing is in `gathered` any more."""
        self.recorded = self.position
        self.rows, self.also, self.pending_rows, self.pending_bytes = [], [], 0, 0


class Holdings:
    """Assigned partitions: owned ones, and those that wait for another try."""

    def __init__(
        self,
        consumer: Consumer,
        own: Callable[[Sequence[Key]], Mapping[Key, Owned | Exception]],
        failed: Callable[[str], None],
    ) -> None:
        """`own` takes partitions over or says what failed; `failed` is told the reason of each failure."""
        self._consumer = consumer
        self._own = own
        self._told = failed
        self.owned: dict[Key, Owned] = {}
        self._tries: Tries[Key] = Tries()
        self.waiting = self._tries.waiting
        self._paused: set[Key] = set()
        """In the client, which remembers it even of a partition that was taken away and comes back."""
        self.held = False
        """Whether nothing is to be delivered, because the database does not keep up."""

    def assigned(self, keys: Iterable[Key], now_ms: int) -> None:
        """Kafka gave us these: consume each from the offset in the database."""
        offsets = self._try(list(keys), now_ms)
        self._consumer.incremental_assign([TopicPartition(*key, offset) for key, offset in offsets.items()])
        for key in offsets:
            self._pause(key, self.held or key in self.waiting)

    def dropped(self, keys: Iterable[Key]) -> None:
        """These are no longer ours; what is in memory of them is forgotten."""
        for key in keys:
            self.owned.pop(key, None)
            self._tries.over(key)

    def recorded(self, key: Key) -> None:
        """Something of it was written: its next failure is the first one."""
        if key in self.owned:
            self._tries.over(key)

    def stop(self, key: Key, error: Exception, now_ms: int) -> None:
        """Stops consuming a partition, forgets what is in memory of it, and takes it over again after a while."""
        if key not in self.owned and key not in self.waiting:
            return
        self._pause(key, True)
        self._failed(key, error, now_ms)

    def stop_all(self, error: Exception, now_ms: int) -> None:
        """Stops all partitions: the database connection is gone, and with it what was on its way."""
        for key in list(self.owned):
            self.stop(key, error, now_ms)

    def hold(self, on: bool) -> None:
        """Stops or resumes the delivery of everything, so that memory stays bounded while the database is slow."""
        if on == self.held:
            return
        self.held = on
        for key in self.owned:
            self._pause(key, on)

    def hurry(self, kind: type[Exception]) -> None:
        """What these waited for is over: they are tried with the next `retry`."""
        for waiting in self.waiting.values():
            if waiting.reason == kind.__name__:
                waiting.at_ms = 0

    def retry(self, now_ms: int) -> None:
        """Tries partitions whose wait is over."""
        for key, offset in self._try(self._tries.due(now_ms), now_ms).items():
            if key in self.owned:
                self.restart(key, offset)

    def restart(self, key: Key, offset: int) -> None:
        """Makes Kafka deliver a partition from an offset again. What was fetched before is discarded by the client."""
        place = TopicPartition(*key, offset)
        try:
            kafka.deliver_from(self._consumer, place)
            self._pause(key, self.held)
        except KafkaException as error:
            # Kafka took the partition away meanwhile: its callback comes with the next poll.
            log.info("partition could not be restarted", extra={"partition": key, "error": str(error)})
            self.dropped([key])

    def _failed(self, key: Key, error: Exception, now_ms: int) -> None:
        self.owned.pop(key, None)
        before = self.waiting.get(key)
        reason = type(error).__name__
        self._tries.failed(key, error, now_ms)
        self._told(reason)
        if before is None or before.reason != reason:
            log.warning(
                "partition stopped, will be taken over again",
                extra={"topic": key[0], "partition": key[1], "reason": reason, "error": str(error)},
            )

    def _pause(self, key: Key, on: bool) -> None:
        if on == (key in self._paused):
            return
        try:
            (self._consumer.pause if on else self._consumer.resume)([TopicPartition(*key)])
        except KafkaException as error:
            # Kafka took the partition away meanwhile: its callback comes with the next poll.
            log.info("partition could not be paused or resumed", extra={"partition": key, "error": str(error)})
            return
        (self._paused.add if on else self._paused.discard)(key)

    def _try(self, keys: Sequence[Key], now_ms: int) -> dict[Key, int]:
        """Takes partitions over; says where to consume each, the log's end if that failed and has to wait."""
        offsets: dict[Key, int] = {}
        for key, owned in (self._own(keys) if keys else {}).items():
            if isinstance(owned, Exception):
                self._failed(key, owned, now_ms)
                offsets[key] = int(OFFSET_END)
                continue
            self._tries.begun(key)  # two who take it from each other would go on at that for ever
            self.owned[key] = owned
            offsets[key] = owned.position
            log.info("partition taken over", extra={"topic": key[0], "partition": key[1], "offset": owned.position})
        return offsets
