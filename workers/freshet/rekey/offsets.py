"""What Kafka knows of the copying so far: the group's offsets with their marks, the ids and ends of both topics."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from freshet.rekey.beginning import Committed, Mark, Start, Stopped, Topics, start_of
from freshet.rekey.writer import Writer
from freshet.spec.definition import Source
from freshet.spec.naming import rekey_group
from freshet.stores import kafka
from freshet.stores.answers import answer
from freshet.stores.topics import topic_config

log = logging.getLogger(__name__)

_ANSWER_SECONDS = 3.0
_UNLIMITED = 1 << 40


class PartitionMismatch(Stopped):
    """The topic of the copies has another number of partitions than the manifest says: keys would move."""


@dataclass(frozen=True, slots=True)
class Found:
    """Of the partitions that were asked for: where to go on, or why not."""

    starts: dict[int, Start]
    stopped: dict[int, Stopped]


class Offsets:
    """Of the consumer group of one derived topic."""

    def __init__(self, connect: Callable[[], AdminClient], consumer: Consumer, source: Source, *, skip: bool) -> None:
        """`connect` makes a client for topics and groups."""
        assert source.origin is not None
        self._connect, self._consumer, self._source = connect, consumer, source
        self._admin = connect()
        self.origin = source.origin
        self.group = rekey_group(source.topic)
        self._skip = skip
        self.topics: Topics | None = None
        """As of the last look."""
        self._first: Topics | None = None
        self.most_bytes = _UNLIMITED
        """Largest record that the topic of the copies takes."""

    def look(self) -> Topics:
        """The topics as they are now. Raises KafkaException, PartitionMismatch."""
        try:
            origin = kafka.describe_topic(self._admin, self.origin, _ANSWER_SECONDS)
            topic = kafka.describe_topic(self._admin, self._source.topic, _ANSWER_SECONDS)
        except KafkaException:
            # A client that lived through the end of its broker may wait for it for ever (seen with librdkafka 2.16).
            self._admin = self._connect()
            raise
        if topic.partitions != self._source.partitions:
            raise PartitionMismatch(
                f"topic {topic.name} has {topic.partitions} partitions, spec.source.partitions is"
                f" {self._source.partitions}: keys would move; make the numbers equal"
            )
        return Topics(self.origin, origin.topic_id, topic.name, topic.topic_id, self.group)

    def find(self, partitions: Collection[int], writer: Writer) -> Found:
        """Where copying of these partitions goes on, once nobody else has a transaction open on them.

        Raises KafkaException, Aborted, PartitionMismatch.
        """
        self._admin = self._connect()  # as in look()
        topics = self.topics = self.look()
        limit = topic_config(self._admin, topics.topic, _ANSWER_SECONDS).get("max.message.bytes")
        self.most_bytes = _UNLIMITED if limit is None else int(limit)
        before = self._committed(None)
        others = {c.mark.writer for p, c in before.items() if p in partitions and c.mark and c.mark.writer}
        for name in sorted(others - {writer.transactional_id}):
            writer.fence(name)
        # In this order: every copy, aborted ones too, has an offset that was committed before it.
        copies = not before and self._has_copies(topics.topic)
        known = self._committed(partitions)
        unknown = copies and not known
        self._first = self._first or topics
        marks = [found.mark for found in (*before.values(), *known.values()) if found.mark is not None]
        ids = {self._first.origin_id, *(mark.origin_id for mark in marks)}
        changed = ids != {topics.origin_id}
        starts: dict[int, Start] = {}
        stopped: dict[int, Stopped] = {}
        for p in partitions:
            bounds = kafka.log_bounds(self._consumer, self.origin, p, _ANSWER_SECONDS)
            try:
                starts[p] = start_of(p, known.get(p), bounds, topics, unknown=unknown, changed=changed, skip=self._skip)
            except Stopped as problem:
                stopped[p] = problem
        return Found(starts, stopped)

    def place(self, partition: int, offset: int, writer: str | None) -> TopicPartition:
        """An offset to commit, with its mark."""
        assert self.topics is not None, "find() comes first"
        mark = Mark(self.topics.origin_id, self.topics.topic_id, writer)
        return TopicPartition(self.origin, partition, offset, mark.text())

    def _has_copies(self, topic: str) -> bool:
        places = [(topic, p) for p in range(self._source.partitions)]
        bounds = kafka.many_log_bounds(self._admin, places, _ANSWER_SECONDS)
        for found in bounds.values():
            if isinstance(found, KafkaException):
                raise found
        return any(end > 0 for _, end in bounds.values())  # type: ignore[misc]  # errors were raised above

    def _committed(self, partitions: Collection[int] | None) -> dict[int, Committed]:
        """Offsets of these partitions; raises while a transaction is open on one. None: of all, as they are."""
        places = None if partitions is None else [TopicPartition(self.origin, p) for p in partitions]
        asked = [ConsumerGroupTopicPartitions(self.group, places)]
        told: Any = self._admin.list_consumer_group_offsets(
            asked, require_stable=partitions is not None, request_timeout=_ANSWER_SECONDS
        )
        found: dict[int, Committed] = {}
        for place in answer(told[self.group], _ANSWER_SECONDS).topic_partitions:
            if place.topic != self.origin:
                continue
            if place.error is not None:
                raise KafkaException(place.error)
            if place.offset >= 0:
                found[place.partition] = Committed(place.offset, Mark.parse(place.metadata))
        return found
