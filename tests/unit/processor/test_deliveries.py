"""Which deliveries of Kafka a processor believes."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from confluent_kafka import KafkaError, KafkaException

from freshet.processor.service import Processor
from freshet.stores.deliveries import Continuity


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
    """One partition that a processor owns, with what it has taken of a log that holds these offsets."""

    backlog = None

    def __init__(self, position: int, log: Sequence[int] = range(1000)) -> None:
        self.position, self.taken, self.restarts, self.stopped = position, list[int](), 0, 0
        self.looks = 0
        self._log = log
        self.continuity = Continuity(self._look)
        self.owner = self
        self.processor = cast(Any, Processor.__new__(Processor))
        self.processor._assignment = SimpleNamespace(runners={0: self}, restart=self.restart, stop=self.stop)
        self.processor._owner = "ns/fs/rev"
        self.processor._take_records = self.take_records

    def _look(self, offset: int) -> int:
        self.looks += 1
        if not self._log:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        return next((at for at in self._log if at >= offset), self._log[-1] + 1)

    def restart(self, _partition: int, offset: int) -> None:
        assert offset == self.position
        self.restarts += 1

    def stop(self, _partition: int, _error: Exception, _now_ms: int) -> None:
        self.stopped += 1

    def take_records(self, parts: Sequence[tuple[int, Any]]) -> None:
        for _, records in parts:
            self.taken += records.offset.tolist()
            self.position = max(self.position, self.taken[-1] + 1)

    def reached(self, offset: int) -> None:
        self.position = max(self.position, offset)

    def delivers(self, *messages: Message) -> None:
        self.processor._take(list(messages))


@pytest.fixture(autouse=True)
def offsets_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "freshet.processor.service.to_records",
        lambda messages, _: SimpleNamespace(offset=np.array([m.offset() for m in messages])),
    )


def records(*offsets: int) -> list[Message]:
    return [Message(offset) for offset in offsets]


def test_what_was_fetched_before_the_restart_does_not_count_however_often_it_comes() -> None:
    """While a partition is rebuilt it stands at the log's end: what was fetched there must not come first."""
    for stale in (
        [Message(7, end=True), *records(7, 8)],
        [*records(7, 8), Message(7, end=True)],
        [*records(7, 8), Message(9, end=True)],
        [Message(7, end=True)],
    ):
        partition = Partition(0)
        partition.delivers(*stale)
        partition.delivers(*stale)
        assert (partition.taken, partition.position, partition.restarts) == ([], 0, 2), stale
        partition.delivers(*records(*range(9)), Message(9, end=True))
        assert (partition.taken, partition.position) == (list(range(9)), 9)


def test_a_jump_in_mid_stream_loses_nothing() -> None:
    """Seen: records 0 to 1739, then the end 1792 and records from there on, by a late answer to an older question."""
    partition = Partition(0, range(20))
    partition.delivers(*records(0, 1, 2))
    for jump in ([Message(5, end=True), *records(5, 6)], records(5, 6), [Message(5, end=True)]):
        partition.delivers(*jump)
        assert (partition.taken, partition.position) == ([0, 1, 2], 3), jump
    partition.delivers(*records(3, 4, 7, 8))
    assert partition.position == 3, "the jump may stand in the middle of a delivery"
    assert partition.restarts == 4
    partition.delivers(*records(3, 4, 5))
    assert partition.taken == [0, 1, 2, 3, 4, 5]


def test_a_hole_of_the_log_is_believed_and_later_ones_without_a_look() -> None:
    partition = Partition(3, [5, 6, 9, 10])
    partition.delivers(*records(5, 6), Message(7, end=True))
    assert (partition.taken, partition.position, partition.restarts) == ([5, 6], 7, 0)
    looks = partition.looks
    partition.delivers(*records(9, 10), Message(12, end=True))
    assert (partition.taken, partition.position, partition.looks) == ([5, 6, 9, 10], 12, looks)


def test_records_that_come_twice_are_taken() -> None:
    partition = Partition(0)
    partition.delivers(*records(0, 1))
    partition.delivers(*records(0, 1, 2))
    assert (partition.taken, partition.looks) == ([0, 1, 0, 1, 2], 0)


def test_without_an_answer_the_partition_stops() -> None:
    partition = Partition(3, [])
    partition.delivers(*records(5, 6))
    assert (partition.taken, partition.restarts, partition.stopped) == ([], 0, 1)
