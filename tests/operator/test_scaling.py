"""How many processors there are."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshet.spec.manifest import ProcessorModel
from freshet_operator.plan.scaling import CALM_MS, MORE_MS, Scaling, remembered, scale
from tests.operator.pure import NOW

MODEL = ProcessorModel(minReplicas=1, maxReplicas=8, targetLag=1000)


def after(
    before: Scaling | None,
    lag: int | None = 0,
    busy: float | None = 0.1,
    now: int = NOW,
    *,
    model: ProcessorModel = MODEL,
    settled: bool = True,
    built: bool = True,
) -> Scaling:
    """The next number on a topic of six partitions."""
    return scale(model, 6, before, now, settled=settled, built=built, lag=lag, busy=busy)


@pytest.mark.parametrize(
    ("current", "settled", "lag", "busy", "expected"),
    [
        (1, True, 0, 0.1, 1),
        (1, True, 1000, 0.1, 1),
        (1, True, 1001, 0.1, 2),
        (1, True, 5500, 0.1, 2),  # at most twice as many
        (2, True, 5500, 0.1, 4),
        (4, True, 5500, 0.1, 6),
        (4, True, 4500, 0.1, 5),
        (4, True, 9_000_000, None, 6),  # partitions bound
        (1, False, 5500, 0.1, 1),  # those that start have had no chance yet
        (4, True, None, None, 4),  # nothing is known
        (4, True, None, 0.95, 5),
        (4, True, 0, 0.95, 5),  # busy without lag: one more
        (4, False, 0, 0.95, 4),
        (6, True, 0, 0.95, 6),
        (4, True, 0, 0.1, 4),  # down only after a calm time
        (7, True, 0, 0.5, 6),  # more than partitions
    ],
)
def test_numbers(current: int, settled: bool, lag: int | None, busy: float | None, expected: int) -> None:
    """After a minute in which more were needed at every look."""
    before = Scaling(current, NOW - MORE_MS, short_ms=NOW - MORE_MS)
    assert after(before, lag, busy, settled=settled).replicas == expected


def test_new_ones_start_with_the_least_and_at_least_one() -> None:
    for model, expected in ((MODEL, 1), (ProcessorModel(minReplicas=0), 1), (ProcessorModel(minReplicas=9), 6)):
        assert after(None, None, None, model=model, settled=False, built=False).replicas == expected


def test_bounds_hold_at_once() -> None:
    for built in (True, False):
        assert after(Scaling(1), model=ProcessorModel(minReplicas=3), settled=False, built=built).replicas == 3
        assert after(Scaling(5), model=ProcessorModel(maxReplicas=2), settled=False, built=built).replicas == 2


def story(lags: Callable[[int], int], seconds: int, busy: float = 0.1, built: bool = True) -> list[tuple[int, int]]:
    """(second, number) of each change, looked at every ten seconds from two processors on."""
    state, changes = Scaling(2, NOW - 10 * CALM_MS), []
    for second in range(0, seconds, 10):
        new = after(state, lags(second), busy, NOW + second * 1000, built=built)
        if new.replicas != state.replicas:
            changes.append((second, new.replicas))
        state = new
    return changes


def test_a_backlog_that_stays_doubles_them_every_minute() -> None:
    assert story(lambda _: 900_000, 300) == [(60, 4), (130, 6)]


def test_a_burst_that_passes_changes_nothing() -> None:
    assert story(lambda second: 900_000 if second % 60 < 50 else 0, 600, busy=0.6) == []


def test_the_lag_of_a_backfill_changes_nothing() -> None:
    assert story(lambda _: 900_000, 900, busy=0.99, built=False) == []


def test_those_that_start_are_waited_for() -> None:
    state = Scaling(2, NOW)
    for second in range(0, 300, 10):  # the fourth cannot be scheduled
        state = after(state, 900_000, 0.9, NOW + second * 1000, settled=False)
    assert state.replicas == 2
    assert after(state, 900_000, 0.9, NOW + 300_000).replicas == 4


def test_down_one_at_a_time_after_five_calm_minutes() -> None:
    now, state = NOW, Scaling(4, NOW - 10 * CALM_MS)
    changes = []
    for _ in range(140):
        now += 10_000
        new = after(state, now=now)
        if new.replicas != state.replicas:
            changes.append((new.replicas, now))
        state = new
    assert [replicas for replicas, _ in changes] == [3, 2, 1]
    times = [NOW, *(at for _, at in changes)]
    assert all(b - a >= CALM_MS for a, b in itertools.pairwise(times))


@pytest.mark.parametrize(("lag", "busy"), [(3001, 0.1), (0, 0.55), (None, 0.1), (0, None)])
def test_one_moment_that_is_not_calm_starts_the_wait_anew(lag: int | None, busy: float | None) -> None:
    state = Scaling(4, NOW - CALM_MS, calm_ms=NOW - CALM_MS + 1)
    new = after(state, lag, busy)
    assert (new.replicas, new.calm_ms) == (4, None)


def test_the_rest_may_not_get_too_busy() -> None:
    old = Scaling(2, NOW - CALM_MS, calm_ms=NOW - CALM_MS)
    assert after(old, 0, 0.36).replicas == 2  # one would be busy 72 %
    assert after(old, 0, 0.34).replicas == 1


def test_to_zero_and_back() -> None:
    model = ProcessorModel(minReplicas=0, maxReplicas=4, targetLag=1000)
    idle = Scaling(1, NOW - CALM_MS, calm_ms=NOW - CALM_MS)
    assert after(idle, 0, 0.0, model=model).replicas == 0
    assert after(idle, 1, 0.0, model=model).replicas == 1
    assert after(idle, 0, 0.2, model=model).replicas == 1
    assert after(Scaling(0), 0, None, model=model).replicas == 0
    assert after(Scaling(0), None, None, model=model).replicas == 0
    for built in (True, False):  # one event is enough, at once
        assert after(Scaling(0), 1, None, model=model, settled=False, built=built).replicas == 1


def test_busy_adds_one_a_minute() -> None:
    assert story(lambda _: 0, 200, busy=0.99) == [(60, 3), (130, 4)]


@given(
    st.integers(0, 6),
    st.integers(1, 1024),
    st.one_of(st.none(), st.builds(Scaling, st.integers(0, 2000))),
    st.booleans(),
    st.booleans(),
    st.one_of(st.none(), st.integers(0, 10**12)),
    st.one_of(st.none(), st.floats(0, 1)),
)
def test_always_between_the_bounds_and_stable(
    low: int,
    partitions: int,
    before: Scaling | None,
    settled: bool,
    built: bool,
    lag: int | None,
    busy: float | None,
) -> None:
    model = ProcessorModel(minReplicas=low, maxReplicas=low + 5, targetLag=100)
    look: dict[str, Any] = {"settled": settled, "built": built, "lag": lag, "busy": busy}
    first = scale(model, partitions, before, NOW, **look)
    assert min(low, partitions) <= first.replicas <= min(low + 5, partitions)
    kept = remembered(first.memory(), None)
    assert kept is not None
    second = scale(model, partitions, kept, NOW, **look)
    third = scale(model, partitions, remembered(second.memory(), None), NOW, **look)
    assert third.memory() == second.memory()


@pytest.mark.parametrize(
    ("memory", "live", "replicas"),
    [
        (None, None, None),
        (None, 3, 3),
        ({}, 3, 3),
        ({"replicas": 2}, 3, 2),
        ({"replicas": "two"}, 3, None),
        ({"replicas": True}, None, None),
        ({"replicas": -1}, None, None),
        ({"replicas": 2, "changedAt": 5, "calmSince": "soon", "shortSince": []}, None, 2),
    ],
)
def test_what_is_remembered(memory: object, live: int | None, replicas: int | None) -> None:
    found = remembered(memory, live)  # type: ignore[arg-type]
    assert (None if found is None else found.replicas) == replicas
