"""Which deliveries of Kafka a processor believes after it has taken a partition over."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from confluent_kafka import KafkaError

from freshet.processor.service import Processor
from freshet.stores.kafka import FirstDelivery


class Message:
    """A record, or the end of the partition."""

    def __init__(self, offset: int, *, end: bool = False) -> None:
        self._offset, self._end = offset, end

    def error(self) -> KafkaError | None:
        return KafkaError(KafkaError._PARTITION_EOF) if self._end else None

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset


class Partition:
    """One partition that a processor owns, with what it has taken."""

    backlog = None

    def __init__(self, position: int) -> None:
        self.position, self.taken, self.restarts = position, list[int](), 0
        self._first = FirstDelivery()
        self.owner = self
        self.processor = cast(Any, Processor.__new__(Processor))
        self.processor._assignment = SimpleNamespace(runners={0: self}, restart=self.restart)
        self.processor._owner = "ns/fs/rev"
        self.processor._take_records = lambda _, offsets: self.take(offsets)

    def confirm(self, offset: int) -> bool:
        return self._first.confirm(offset, self.position)

    def restart(self, _partition: int, offset: int) -> None:
        assert offset == self.position
        self.restarts += 1

    def take(self, offsets: list[int]) -> None:
        self.taken += offsets
        self.position = offsets[-1] + 1

    def reached(self, offset: int) -> None:
        self.position = max(self.position, offset)

    def delivers(self, *messages: Message) -> None:
        self.processor._take(list(messages))


def test_an_end_does_not_speak_for_records_that_were_fetched_with_it(monkeypatch: Any) -> None:
    """While a partition is rebuilt it stands at the log's end: what was fetched there must not come first."""
    monkeypatch.setattr("freshet.processor.service.to_records", lambda messages, _: [m.offset() for m in messages])
    for stale in (
        [Message(7, end=True), Message(7), Message(8)],
        [Message(7), Message(8), Message(7, end=True)],
        [Message(7), Message(8), Message(9, end=True)],
        [Message(7, end=True)],
    ):
        partition = Partition(0)
        partition.delivers(*stale)
        assert (partition.taken, partition.position, partition.restarts) == ([], 0, 1), stale
        partition.delivers(*[Message(offset) for offset in range(9)], Message(9, end=True))
        assert (partition.taken, partition.position) == (list(range(9)), 9)


def test_a_gap_is_believed_when_it_comes_again(monkeypatch: Any) -> None:
    monkeypatch.setattr("freshet.processor.service.to_records", lambda messages, _: [m.offset() for m in messages])
    partition = Partition(3)
    partition.delivers(Message(5), Message(6))
    assert (partition.taken, partition.restarts) == ([], 1)
    partition.delivers(Message(5), Message(6), Message(8, end=True))
    assert (partition.taken, partition.position) == ([5, 6], 8)
