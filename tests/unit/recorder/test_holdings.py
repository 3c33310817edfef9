"""Partitions that are taken over, lost and taken over again."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, cast
from unittest.mock import Mock
from uuid import UUID

from confluent_kafka import Consumer

from freshet.recorder.fence import Fenced
from freshet.recorder.holdings import Holdings, Key, Owned
from freshet.recorder.rows import Place
from freshet.recorder.topics import Role
from freshet.stores.deliveries import Continuity

KEY = ("raw-events", 3)


def _own(keys: Sequence[Key]) -> Mapping[Key, Owned | Exception]:
    place = Place("raw-events", UUID(int=1), KEY[1])
    continuity = cast(Continuity, None)
    return {
        key: Owned(place, 4, Role.VECTORS, UUID(int=2), 0, 0, 0, None, None, continuity, deque([(0, 0)]))
        for key in keys
    }


def _waits(holdings: Holdings, times: int) -> list[int]:
    """How long it waits each time that another takes it, and is taken over again."""
    waits, now = [], 0
    for _ in range(times):
        holdings.stop(KEY, Fenced("another recorder has taken the partition over"), now)
        waits.append(holdings.waiting[KEY].wait_ms)
        now += waits[-1]
        holdings.retry(now)
        assert KEY in holdings.owned
    return waits


def test_two_that_take_a_partition_from_each_other_leave_each_other_more_and_more_time() -> None:
    consumer: Any = Mock(spec=Consumer)
    holdings = Holdings(consumer, _own, lambda _: None)
    holdings.assigned([KEY], 0)
    assert _waits(holdings, 4) == [100, 200, 400, 800]
    holdings.recorded(KEY)
    assert _waits(holdings, 2) == [100, 200]
