"""Partitions that are taken over, lost and taken over again."""

from __future__ import annotations

from concurrent.futures import Executor, Future
from typing import Any, cast
from unittest.mock import Mock

import pytest
from confluent_kafka import Consumer

from freshet.processor.assignment import Assignment
from freshet.processor.compiled import Compiled
from freshet.processor.partition import PartitionOwner
from freshet.processor.rebuild import Rebuild
from freshet.processor.runner import Flushed, Pace, Runner
from freshet.processor.takeover import Begun, Taking
from freshet.stores.fence import Refused


def _own(_partition: int) -> Taking:
    owner = Mock(spec=PartitionOwner, position=0, stored=0, complete=True, told_ms=0)
    owner.due.return_value = ()
    begun: Future[Begun] = Future()
    begun.set_result(Begun(owner, None, 0))
    return Taking(owner, Mock(spec=Rebuild), begun, 0)


def test_two_that_take_a_partition_from_each_other_leave_each_other_more_and_more_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    results: list[Flushed | Refused] = [
        *(Refused("another processor has it") for _ in range(3)),
        Flushed(1, 0.1, None),
        *(Refused("another processor has it") for _ in range(2)),
    ]

    def step(self: Runner, now_ms: int, *, behind: bool, hurry: bool = False) -> Flushed:
        result = results.pop(0)
        if isinstance(result, Refused):
            raise result
        return result

    monkeypatch.setattr(Runner, "step", step)
    consumer: Any = Mock(spec=Consumer)
    assignment = Assignment(
        *(consumer, "events", _own, cast(Executor, None), Pace(0)),
        *(cast(Compiled, None), "activity", lambda _: Mock()),
    )
    assignment.assigned([3], 0)
    waits, now = [], 0
    while results:
        if not assignment.step(now, behind=False):
            waits.append(assignment.waiting[3].wait_ms)
            now += waits[-1]
            assignment.retry(now)
        assert 3 in assignment.runners
    assert waits == [100, 200, 400, 100, 200]
