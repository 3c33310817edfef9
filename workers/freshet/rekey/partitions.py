"""The origin's partitions that Kafka has assigned: those that are copied, and those that wait for another try."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import numpy as np
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from freshet.runtime.tries import Tries, Waiting
from freshet.stores import kafka
from freshet.stores.deliveries import Continuity

log = logging.getLogger(__name__)


class Running:
    """A partition that is copied."""

    __slots__ = ("committed", "continuity", "position")

    def __init__(self, offset: int, continuity: Continuity) -> None:
        self.position = self.committed = offset
        """What comes next, and up to where copies are committed."""
        self.continuity = continuity

    def comes_next(self, messages: list[Message]) -> bool:
        """Whether these are what comes next. Raises KafkaException if Kafka has to be asked and does not answer."""
        offsets = np.fromiter((message.offset() for message in messages), np.int64, len(messages))
        return self.continuity.accepts(self.position, offsets)


class Partitions:
    """All that are assigned are in `running` or in `waiting`."""

    def __init__(self, consumer: Consumer, origin: str) -> None:
        self._consumer, self._origin = consumer, origin
        self.running: dict[int, Running] = {}
        self._tries: Tries[int] = Tries()
        self.waiting = self._tries.waiting

    def moved(self) -> bool:
        """Whether some partition is further than what is committed."""
        return any(running.position != running.committed for running in self.running.values())

    def assigned(self, partitions: Iterable[int], now_ms: int) -> None:
        """Kafka gave us these; where they begin is found out in the main loop. Until then nothing is fetched."""
        places = [TopicPartition(self._origin, p, 0) for p in partitions]
        self._consumer.incremental_assign(places)
        if places:
            self._consumer.pause(places)
        self.waiting.update({place.partition: Waiting("", "", now_ms) for place in places})

    def dropped(self, partitions: Iterable[int]) -> None:
        """These are no longer ours."""
        numbers = list(partitions)
        for p in numbers:
            self.running.pop(p, None)
            self._tries.over(p)
        self._consumer.incremental_unassign([TopicPartition(self._origin, p) for p in numbers])

    def due(self, now_ms: int) -> list[int]:
        """Those to try now."""
        return self._tries.due(now_ms)

    def start(self, partition: int, running: Running) -> None:
        """Copies this partition from where `running` is."""
        self._tries.over(partition)
        self.running[partition] = running
        log.info("partition is copied", extra={"partition": partition, "offset": running.position})
        self.restart(partition)

    def restart(self, partition: int) -> None:
        """Makes Kafka deliver a partition from where we are. What was fetched before is discarded by the client."""
        place = TopicPartition(self._origin, partition, self.running[partition].position)
        try:
            kafka.deliver_from(self._consumer, place)
            self._consumer.resume([place])
        except KafkaException as error:
            # Kafka took the partition away meanwhile: its callback comes with the next poll.
            log.info("partition could not be restarted", extra={"partition": partition, "error": str(error)})

    def stop(self, partition: int, error: Exception, now_ms: int) -> None:
        """Stops copying a partition, and tries again after a while."""
        self.running.pop(partition, None)
        waiting = self._tries.failed(partition, error, now_ms)
        try:
            self._consumer.pause([TopicPartition(self._origin, partition)])
        except KafkaException as problem:
            log.info("partition could not be paused", extra={"partition": partition, "error": str(problem)})
        log.warning(
            "partition stopped, will be tried again",
            extra={
                "partition": partition,
                "reason": waiting.reason,
                "error": waiting.sentence,
                "retry_ms": waiting.wait_ms,
            },
        )
