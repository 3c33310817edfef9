"""Committed offsets of groups whose processors do not run, and so do not say how far they are.

Read by a consumer that lives for one question: librdkafka's admin client ends the process when a broker that it asks
for a group's offsets is not the coordinator (librdkafka#5040), as on a new Kafka or after a change of leaders. It is
asked seldom: nobody commits while no processor runs.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from freshet_operator.observe import kafka_calls as calls

_log = logging.getLogger(__name__)

AGE_SECONDS = 300.0
_LIST_SECONDS = 10.0
_ANSWER_SECONDS = 5.0
_AT_ONCE = 2

Offsets = dict[int, int]
"""Partition → committed offset, of those that have one."""


class CommittedOffsets:
    """Remembers what it has read; reads in the background."""

    def __init__(
        self, client: AdminClient, consumer: Callable[[str], Consumer], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`consumer` makes one of a group."""
        self._client = client
        self._consumer = consumer
        self._clock = clock
        self._known: dict[str, tuple[float, Offsets]] = {}
        self._reading: dict[str, asyncio.Task[None]] = {}
        self._groups: tuple[float, frozenset[str]] = (float("-inf"), frozenset())
        self._listing = asyncio.Lock()
        self._at_once = asyncio.Semaphore(_AT_ONCE)

    def of(self, group: str, topic: str, partitions: int) -> Offsets | None:
        """Of one group and topic, five minutes old at most; None: not known yet, ask again."""
        at, known = self._known.get(group, (float("-inf"), None))
        if self._clock() - at < AGE_SECONDS:
            return known
        if group not in self._reading:
            task = asyncio.create_task(self._read(group, topic, partitions))
            self._reading[group] = task
            task.add_done_callback(lambda _: self._reading.pop(group, None))
        return known

    def forget(self, group: str) -> None:
        """Its processors run, or it was deleted: what was read is not true for long."""
        self._known.pop(group, None)

    def keep(self, groups: Iterable[str | None]) -> None:
        """Forgets all others."""
        self._known = {group: self._known[group] for group in groups if group in self._known}

    async def _read(self, group: str, topic: str, partitions: int) -> None:
        began = self._clock()
        try:
            found: Offsets = {}
            if group in await self._existing():
                async with self._at_once:
                    found = await asyncio.to_thread(self._committed, group, topic, partitions)
        except KafkaException as error:
            _log.info("offsets of group %s cannot be read yet: %s", group, error.args[0].name())
        else:
            self._known[group] = (began, found)

    async def _existing(self) -> frozenset[str]:
        async with self._listing:
            if self._clock() - self._groups[0] > _LIST_SECONDS:
                self._groups = (self._clock(), await calls.groups(self._client))
            return self._groups[1]

    def _committed(self, group: str, topic: str, partitions: int) -> Offsets:
        consumer = self._consumer(group)
        try:
            places = [TopicPartition(topic, i) for i in range(partitions)]
            answer = consumer.committed(places, timeout=_ANSWER_SECONDS)
        finally:
            consumer.close()
        for place in answer:
            if place.error is not None:
                raise KafkaException(place.error)
        return {place.partition: place.offset for place in answer if place.offset >= 0}
