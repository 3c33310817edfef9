"""How many processors there are."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshet.spec.manifest import ProcessorModel
from freshet_operator.plan.scaling import CALM_MS, SETTLE_MS, Scaling, remembered, scale
from tests.operator.pure import NOW

MODEL = ProcessorModel(minReplicas=1, maxReplicas=8, targetLag=1000)


@pytest.mark.parametrize(
    ("current", "settled", "lag", "busy", "expected"),
    [
        (1, True, 0, 0.1, 1),
        (1, True, 1000, 0.1, 1),
        (1, True, 1001, 0.1, 2),
        (1, True, 5500, 0.1, 6),  # up at once
        (1, True, 9_000_000, None, 6),  # partitions bound
        (1, False, 5500, 0.1, 1),  # those that start have had no chance yet
        (4, True, None, None, 4),  # nothing is known
        (4, True, 5000, None, 5),
        (4, True, None, 0.95, 5),
        (4, True, 0, 0.95, 5),  # busy without lag: one more
        (4, False, 0, 0.95, 4),
        (6, True, 0, 0.95, 6),
        (4, True, 0, 0.1, 4),  # down only after a calm time
        (7, True, 0, 0.5, 6),  # more than partitions
    ],
)
def test_numbers(current: int, settled: bool, lag: int | None, busy: float | None, expected: int) -> None:
    before = Scaling(current, NOW - SETTLE_MS)
    assert scale(MODEL, 6, before, settled, lag, busy, NOW).replicas == expected


def test_new_ones_start_with_the_least_and_at_least_one() -> None:
    assert scale(MODEL, 6, None, False, None, None, NOW).replicas == 1
    assert scale(ProcessorModel(minReplicas=0), 6, None, False, None, None, NOW).replicas == 1
    assert scale(ProcessorModel(minReplicas=3), 2, None, False, None, None, NOW).replicas == 2


def test_bounds_hold_at_once() -> None:
    assert scale(ProcessorModel(minReplicas=3), 6, Scaling(1), False, None, None, NOW).replicas == 3
    assert scale(ProcessorModel(maxReplicas=2), 6, Scaling(5), False, None, None, NOW).replicas == 2


def test_down_one_at_a_time_after_five_calm_minutes() -> None:
    now, state = NOW, Scaling(4, NOW - 10 * CALM_MS)
    changes = []
    for _ in range(140):
        now += 10_000
        after = scale(MODEL, 6, state, True, 0, 0.1, now)
        if after.replicas != state.replicas:
            changes.append((after.replicas, now))
        state = after
    assert [replicas for replicas, _ in changes] == [3, 2, 1]
    times = [NOW, *(at for _, at in changes)]
    assert all(b - a >= CALM_MS for a, b in itertools.pairwise(times))


@pytest.mark.parametrize(("lag", "busy"), [(3001, 0.1), (0, 0.55), (None, 0.1), (0, None)])
def test_one_moment_that_is_not_calm_starts_the_wait_anew(lag: int | None, busy: float | None) -> None:
    state = Scaling(4, NOW - CALM_MS, calm_ms=NOW - CALM_MS + 1)
    after = scale(MODEL, 6, state, True, lag, busy, NOW)
    assert (after.replicas, after.calm_ms) == (4, None)


def test_the_rest_may_not_get_too_busy() -> None:
    old = Scaling(2, NOW - CALM_MS, calm_ms=NOW - CALM_MS)
    assert scale(MODEL, 6, old, True, 0, 0.36, NOW).replicas == 2  # one would be busy 72 %
    assert scale(MODEL, 6, old, True, 0, 0.34, NOW).replicas == 1


def test_to_zero_and_back() -> None:
    model = ProcessorModel(minReplicas=0, maxReplicas=4, targetLag=1000)
    idle = Scaling(1, NOW - CALM_MS, calm_ms=NOW - CALM_MS)
    assert scale(model, 6, idle, True, 0, 0.0, NOW).replicas == 0
    assert scale(model, 6, idle, True, 1, 0.0, NOW).replicas == 1
    assert scale(model, 6, idle, True, 0, 0.2, NOW).replicas == 1
    assert scale(model, 6, Scaling(0), True, 0, None, NOW).replicas == 0
    assert scale(model, 6, Scaling(0), False, 1, None, NOW).replicas == 1


def test_busy_adds_one_and_waits() -> None:
    once = scale(MODEL, 6, Scaling(2, NOW - SETTLE_MS), True, 0, 0.99, NOW)
    again = scale(MODEL, 6, once, True, 0, 0.99, NOW + SETTLE_MS - 1)
    later = scale(MODEL, 6, again, True, 0, 0.99, NOW + SETTLE_MS)
    assert (once.replicas, again.replicas, later.replicas) == (3, 3, 4)


@given(
    st.integers(0, 6),
    st.integers(1, 1024),
    st.one_of(st.none(), st.builds(Scaling, st.integers(0, 2000))),
    st.booleans(),
    st.one_of(st.none(), st.integers(0, 10**12)),
    st.one_of(st.none(), st.floats(0, 1)),
)
def test_always_between_the_bounds_and_stable(
    low: int, partitions: int, before: Scaling | None, settled: bool, lag: int | None, busy: float | None
) -> None:
    model = ProcessorModel(minReplicas=low, maxReplicas=low + 5, targetLag=100)
    first = scale(model, partitions, before, settled, lag, busy, NOW)
    assert min(low, partitions) <= first.replicas <= min(low + 5, partitions)
    kept = remembered(first.memory(), None)
    assert kept is not None
    second = scale(model, partitions, kept, settled, lag, busy, NOW)
    third = scale(model, partitions, remembered(second.memory(), None), settled, lag, busy, NOW)
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
        ({"replicas": 2, "changedAt": 5, "calmSince": "soon"}, None, 2),
    ],
)
def test_what_is_remembered(memory: object, live: int | None, replicas: int | None) -> None:
    found = remembered(memory, live)  # type: ignore[arg-type]
    assert (None if found is None else found.replicas) == replicas
