"""A partition whose states are still being brought back, or whose events come from the event log, is left alone."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest

from freshet.processor import takeover
from freshet.processor.assignment import Assignment
from freshet.processor.compiled import Compiled
from freshet.processor.forgotten import Forgotten
from freshet.processor.origin import LogBounds
from freshet.processor.rebuild import Rebuild
from freshet.processor.runner import Pace
from freshet.processor.service import Processor
from freshet.processor.takeover import Begun, History, Takeovers, Taking
from freshet.stores.deliveries import Continuity
from freshet.stores.fence import Progress, Refused, Takeover
from freshet.stores.states import Checkpoint, States

TOPIC_ID = "AAAAAAAAAAAAAAAAAAAAAQ"


class Consumer:
    """Remembers from where it was told to deliver."""

    def __init__(self) -> None:
        self.begun: list[int] = []

    def incremental_assign(self, places: list[Any]) -> None:
        self.begun += [place.offset for place in places]

    def incremental_unassign(self, places: list[Any]) -> None:
        pass

    pause = resume = incremental_unassign


def make() -> tuple[Assignment, Consumer, list[Taking]]:
    consumer, taken = Consumer(), []

    def own(_: int) -> Taking:
        owner: Any = SimpleNamespace(position=7, told_ms=0, complete=False, reached=lambda offset: None)
        taken.append(Taking(owner, Rebuild(), Future(), 10))
        return taken[-1]

    return (
        Assignment(
            *(cast(Any, consumer), "t", own, cast(Executor, None), Pace()),
            *(cast(Compiled, None), "clicks", lambda _: Continuity(int)),
        ),
        consumer,
        taken,
    )


def test_while_states_come_back_the_partition_is_not_taken_over_again() -> None:
    assignment, consumer, taken = make()
    assignment.assigned([0], 0)
    taken[0].begun.set_exception(Refused("another owner"))
    for now in range(0, 60_000, 50):
        assignment.retry(now)
    assert len(taken) == 2
    assert (list(assignment.rebuilding), assignment.waiting, assignment.runners) == ([0], {}, {})
    taken[1].begun.set_result(Begun(taken[1].owner, None, 0))
    assignment.retry(60_000)
    assert (list(assignment.runners), consumer.begun[-1]) == ([0], 7)


def test_waits_grow_until_states_are_back() -> None:
    assignment, _, taken = make()
    assignment.assigned([0], 0)
    waits = []
    now = 0
    for _ in range(8):
        taken[-1].begun.set_exception(Refused("again"))
        assignment.retry(now)
        waits.append(assignment.waiting[0].at_ms - now)
        now = assignment.waiting[0].at_ms
        assignment.retry(now)
    assert waits == [100, 200, 400, 800, 1600, 3200, 5000, 5000]


def test_a_partition_that_is_taken_away_stops_what_brings_its_states_back() -> None:
    assignment, _, taken = make()
    assignment.assigned([0], 0)
    assignment.dropped([0])
    assert taken[0].dropped.is_set()
    assert not assignment.rebuilding


def test_kafka_has_nothing_to_say_while_events_come_from_the_event_log() -> None:
    """A paused partition may still tell of its end: taken for true, it would skip everything before."""
    processor = Processor.__new__(Processor)
    moved: list[object] = []
    owner = SimpleNamespace(position=10, reached=moved.append)
    runner = SimpleNamespace(backlog=object(), owner=owner, continuity=Continuity(lambda _: 500))
    restart = lambda *place: moved.append(place)  # noqa: E731
    processor._assignment = cast(Any, SimpleNamespace(runners={0: runner}, restart=restart))
    processor._reached_end(0, 500)
    assert processor._next(0, [cast(Any, SimpleNamespace(offset=lambda: 490))]) is None
    assert moved == []
    runner.backlog = None
    processor._reached_end(0, 500)
    assert moved == [500]


def test_partitions_whose_states_come_back_do_not_wait_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is known to take long as soon as that is decided, so the next one is not held up by it."""
    together = Barrier(3)
    checkpoint = Checkpoint(UUID(int=1), 5, None)

    @contextmanager
    def snapshot(*_: object) -> Iterator[None]:
        together.wait(3)
        yield None  # another checkpoint was written meanwhile

    monkeypatch.setattr(takeover, "_MOMENT_SECONDS", 60)
    monkeypatch.setattr(States, "snapshot", snapshot)
    monkeypatch.setattr(Takeovers, "_known", lambda *_: (checkpoint, None))
    monkeypatch.setattr(Takeovers, "_forgotten", lambda *_: Forgotten())
    claimed = Takeover(Progress("t", 0, 0, False, True), "", None, True)
    with ThreadPoolExecutor(1) as io, ThreadPoolExecutor(3) as rebuilds:
        history = History("", "default/clicks/0123456789", io)
        all = Takeovers(io, rebuilds, cast(Any, None), lambda: 0, history, lambda *_: None, skip_gaps=False)
        taken = [
            all.take(cast(Any, SimpleNamespace(partition=p, claim=lambda _: claimed)), TOPIC_ID, LogBounds(3, 9, None))
            for p in range(3)
        ]
        for one in taken:
            with pytest.raises(Refused, match="another checkpoint"):
                one.begun.result(10)
