"""What `freshet restore` does for re-keyed topics: history may have less of the copies than of their origin.

Each topic is recorded by itself, so a backup may hold events of an origin whose copies it does not hold. They are
copied when both are restored, and the stage goes on at the origin's ends: nothing is lost, and nothing there twice.
"""

from __future__ import annotations

import time
from array import array
from collections import defaultdict
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from rich.console import Console

from freshet.dev.errors import CommandFailed
from freshet.engine.rekeying import KeyReader, rekeyed
from freshet.runtime.settings import KafkaSettings
from freshet.spec.definition import FeatureSet
from freshet.spec.naming import rekey_group
from freshet.spec.partitioning import partition_of
from freshet.stores import kafka
from freshet.stores.event_log import Row, Status

_SECONDS, _GROUP_SECONDS, _ANSWER_SECONDS = 120.0, 30.0, 10.0
_NOTHING = np.empty(0, np.uint64), np.empty(0, np.bool_)


class Copy(NamedTuple):
    """An event to be sent."""

    partition: int
    key: str
    payload: str
    broker_ms: int


class Copies:
    """A topic of copies that is restored before its origin is."""

    def __init__(self, featureset: FeatureSet) -> None:
        self.topic, self.origin = featureset.source.topic, str(featureset.source.origin)
        self._source = featureset.source
        self._reader = KeyReader(featureset.definition.key)
        self._hashes: dict[int, array[int]] = defaultdict(lambda: array("Q"))
        self._sorted: dict[int, tuple[Any, Any]] = {}
        """The hashes of each partition, and which of them were found in the origin."""
        self._erased: dict[str, int] = {}
        self._newest_ms: dict[int, int] = defaultdict(int)
        self._waiting: dict[tuple[int, int], list[Copy]] = defaultdict(list)
        self._seen = False

    def holds(self, partition: int, row: Row) -> None:
        """A record of the topic itself."""
        self._newest_ms[partition] = max(self._newest_ms[partition], row.broker_ms)
        if row.status == Status.CONTROL and row.entity is not None:
            self._erased[row.entity] = row.broker_ms
        elif row.payload is not None:
            self._hashes[partition].append(_hash(row.payload))

    def sees(self, partition: int, row: Row) -> None:
        """A record of the origin, those of each partition in order.

        Copies of one partition of the origin stand in its order: what comes before one that is there, is there.
        """
        if not self._seen:
            self._seen = True
            for place, hashes in self._hashes.items():
                known = np.sort(np.frombuffer(hashes, np.uint64))
                self._sorted[place] = known, np.zeros(len(known), np.bool_)
        if row.payload is None or row.replay_for is not None:
            return
        found = rekeyed(self._reader, None, row.payload.encode(), [])
        if found.key is None:
            return
        key = found.key.decode()
        place = partition_of(key, self._source.partitions, self._source.partitioner)
        if self._has(place, row.payload):
            self._waiting[partition, place].clear()
        elif row.broker_ms > self._erased.get(key, -1):
            self._waiting[partition, place].append(Copy(place, key, row.payload, row.broker_ms))

    def lacks(self) -> list[Copy]:
        """What is not there, once the whole origin was seen, in the order of broker times; these never go back."""
        found = sorted((one for some in self._waiting.values() for one in some), key=lambda one: one.broker_ms)
        return [one._replace(broker_ms=max(one.broker_ms, self._newest_ms[one.partition])) for one in found]

    def complete(self, settings: KafkaSettings) -> int:
        """Sends what is not there; returns how many. Raises CommandFailed."""
        copies = self.lacks()
        wanted = sum(ends(settings, self.topic)) + len(copies)
        producer, failed = kafka.producer(settings), list[str]()
        for copy in copies:
            _produce(producer, self.topic, copy, failed)
        left = producer.flush(_SECONDS)
        if failed or left:
            why = failed[0] if failed else f"{left} records were not acknowledged"
            raise CommandFailed(f"topic {self.topic}: {why}; delete the topics and try again")
        if sum(ends(settings, self.topic)) != wanted:  # the client had to send again (stores/doubts.py)
            raise CommandFailed(
                f"topic {self.topic} has events twice: the connection broke; delete the topics, try again"
            )
        return len(copies)

    def commit(self, settings: KafkaSettings, console: Console) -> None:
        """Lets the stage go on at the origin's ends; one that was not restored has to be empty.

        Raises CommandFailed.
        """
        group, found = rekey_group(self.topic), ends(settings, self.origin)
        if not self._seen and any(found):
            console.print(
                f"[yellow]topic {self.origin} holds records and was not restored: how much of it is in {self.topic} is "
                f"not known; set the offsets of the consumer group {group} with kafka-consumer-groups.sh[/]"
            )
            return
        admin, deadline = kafka.admin(settings), time.monotonic() + _GROUP_SECONDS
        asked = [
            ConsumerGroupTopicPartitions(group, [TopicPartition(self.origin, p, end) for p, end in enumerate(found)])
        ]
        while (problem := _set(admin, asked)) is not None:
            if time.monotonic() > deadline:
                raise CommandFailed(
                    f"the offsets of the consumer group {group} could not be set: {problem}; stop its members and set "
                    f"them with kafka-consumer-groups.sh --reset-offsets --to-latest --topic {self.origin} --execute"
                )
            time.sleep(0.5)  # a Kafka that is new has to make its topic of offsets

    def _has(self, partition: int, payload: str) -> bool:
        """Whether it is there once more: what was sent twice must be there twice."""
        known, found = self._sorted.get(partition, _NOTHING)
        wanted = np.uint64(_hash(payload))
        at = int(np.searchsorted(known, wanted))
        while at < len(known) and known[at] == wanted:
            if not found[at]:
                found[at] = True
                return True
            at += 1
        return False


def _hash(payload: str) -> int:
    return int.from_bytes(blake2b(payload.encode(), digest_size=8).digest(), "big")


def _produce(producer: Producer, topic: str, copy: Copy, failed: list[str]) -> None:
    def told(error: Any, _message: Any) -> None:
        if error is not None:
            failed.append(str(error))

    while True:
        try:
            value, stamp = copy.payload.encode(), copy.broker_ms
            producer.produce(topic, value, copy.key, copy.partition, timestamp=stamp, on_delivery=told)
            producer.poll(0)
            return
        except BufferError:
            producer.poll(0.1)


def ends(settings: KafkaSettings, topic: str) -> list[int]:
    """Ends of all partitions. Waits for leaders, which a new topic does not have at once. Raises KafkaException."""
    client, deadline = kafka.consumer(settings, "freshet-restore"), time.monotonic() + _ANSWER_SECONDS
    try:
        while True:
            try:
                partitions = client.list_topics(topic, timeout=_ANSWER_SECONDS).topics[topic].partitions
                return [kafka.log_bounds(client, topic, p)[1] for p in sorted(partitions)]
            except KafkaException:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.2)
    finally:
        client.close()


def _set(admin: AdminClient, asked: list[ConsumerGroupTopicPartitions]) -> str | None:
    """Sets offsets; what is wrong, if something is."""
    try:
        answer: Any = admin.alter_consumer_group_offsets(asked, request_timeout=_ANSWER_SECONDS)
        (found,) = [future.result() for future in answer.values()]
    except KafkaException as error:
        return str(error.args[0].str())
    return next((str(place.error) for place in found.topic_partitions if place.error is not None), None)
