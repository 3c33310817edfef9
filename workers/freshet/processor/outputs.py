"""What one partition's processor sends to Kafka, and which offsets that holds back (design §6.8).

The offset moves only when the outputs of all events below it are acknowledged. Repeats after a crash carry the same
source position, so a consumer can tell them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import Producer

from freshet.engine.rejection import Rejected
from freshet.processor.records import Records
from freshet.spec import headers as names
from freshet.spec.definition import FeatureSet

NOTHING_HELD = (1 << 63) - 1


class OutputFailed(Exception):
    """Kafka did not take an output: the partition starts again from its stored offset."""


class _Group:
    """Messages sent together: the smallest offset they answer for, and how many are not acknowledged."""

    __slots__ = ("error", "left", "offset")

    def __init__(self, offset: int, left: int) -> None:
        self.offset, self.left = offset, left
        self.error: str | None = None

    def delivered(self, error: Any, _message: Any) -> None:
        if error is not None:
            self.error = str(error)
        self.left -= 1


class Outputs:
    """Feature vectors and dead letters of one partition."""

    def __init__(
        self, producer: Producer, featureset: FeatureSet, *, source: Mapping[str, str], dead_letter_topic: str
    ) -> None:
        """`source` names the FeatureSet, topic, topic id and partition, as headers of dead letters."""
        self._producer = producer
        self._featureset = featureset
        self._headers = [(name, value.encode()) for name, value in source.items()]
        self._dead_letter_topic = dead_letter_topic
        self._groups: deque[_Group] = deque()

    def held_from(self) -> int:
        """The smallest offset whose outputs are not all acknowledged. Raises OutputFailed."""
        for group in self._groups:
            if group.error is not None:
                raise OutputFailed(f"an output was not delivered: {group.error}")
        while self._groups and self._groups[0].left == 0:
            self._groups.popleft()
        return min((g.offset for g in self._groups if g.left), default=NOTHING_HELD)

    def send_vectors(self, keys: Sequence[str], texts: Sequence[bytes], from_offset: int) -> None:
        """Sends one feature vector an entity; they answer for offsets from `from_offset` on."""
        topic = self._featureset.output_topic
        assert topic is not None
        group = self._group(from_offset, len(keys))
        for key, value in zip(keys, texts, strict=True):
            self._produce(topic, group, value, key.encode())

    def send_dead_letters(self, records: Records, rejected: Sequence[Rejected], now_ms: int) -> None:
        """Sends records that could not be processed, payload untouched, each with its reason and position."""
        if not rejected:
            return
        group = self._group(int(records.offset[rejected[0].index]), len(rejected))
        for item in rejected:
            group.offset = min(group.offset, int(records.offset[item.index]))
            headers = [
                *self._headers,
                (names.REASON, item.reason.encode()),
                (names.SENTENCE, item.sentence.encode()),
                (names.OFFSET, b"%d" % records.offset[item.index]),
                (names.TIMESTAMP, b"%d" % records.broker_ms[item.index]),
                (names.FIRST_SEEN, b"%d" % now_ms),
            ]
            self._produce(
                self._dead_letter_topic,
                group,
                records.values[item.index],
                records.key(item.index),
                headers,
            )

    def _group(self, offset: int, size: int) -> _Group:
        group = _Group(offset, size)
        self._groups.append(group)
        return group

    def _produce(
        self, topic: str, group: _Group, value: bytes | None, key: bytes | None, headers: list[Any] | None = None
    ) -> None:
        while True:
            try:
                self._producer.produce(topic, value=value, key=key, on_delivery=group.delivered, headers=headers)
                return
            except BufferError:
                # The queue is bounded: waiting for it is what keeps memory bounded too.
                self._producer.poll(0.05)
                if group.error is not None:
                    raise OutputFailed(f"an output was not delivered: {group.error}") from None
