"""Each aggregate on values that can be worked out by hand. All else is the oracle's business (tests/property)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from freshet.engine.layout import Layout
from freshet.engine.reader import Reader
from freshet.engine.state import PartitionState
from freshet.spec.definition import Aggregate, AggregateFeature
from freshet.spec.expr.tree import Type
from tests.unit.engine.build import (
    EVERY,
    HOUR,
    HOUR_WINDOW,
    MINUTE,
    T0,
    WEEK_WINDOW,
    batch,
    definition,
    feature,
)

EVENTS = [
    ("a", 0, 4.0),
    ("a", 10 * MINUTE, 8.0),
    ("a", 20 * MINUTE, None),
    ("a", 20 * MINUTE, 3.0),
    ("a", 20 * MINUTE, 9.0),
]
NOW = 30 * MINUTE


def value(f: AggregateFeature, events: Sequence[tuple[str, int, float | None]], now: int) -> float | list[float] | None:
    layout = Layout(definition(f))
    states = PartitionState(definition(f), layout)
    states.load(["a"], [None])
    if events:
        rows = batch(events)
        states.apply(rows, np.ones(len(rows), np.bool_))
    blobs = [w.blob for w in states.encode(states.slots(["a"]))] if events else [None]
    column = Reader(definition(f), layout).read(["a"], blobs, T0 + now).columns[f.name]
    found: float | list[float] = column.values.tolist()[0]
    return found if column.mask()[0] else None


CASES = [
    (feature(Aggregate.COUNT, HOUR_WINDOW, EVERY), 5, 0),
    (feature(Aggregate.COUNT, HOUR_WINDOW), 4, 0),
    (feature(Aggregate.SUM, HOUR_WINDOW), 24, 0),
    (feature(Aggregate.MEAN, HOUR_WINDOW), 6, None),
    (feature(Aggregate.MIN, HOUR_WINDOW), 3, None),
    (feature(Aggregate.MAX, HOUR_WINDOW), 9, None),
    (feature(Aggregate.VARIANCE, HOUR_WINDOW), 26 / 3, None),
    (feature(Aggregate.STDDEV, HOUR_WINDOW), math.sqrt(26 / 3), None),
    (feature(Aggregate.FIRST, HOUR_WINDOW), 4, None),
    (feature(Aggregate.LAST, HOUR_WINDOW), 9, None),
    (feature(Aggregate.RATE, HOUR_WINDOW, EVERY, unit_ms=MINUTE), 5 / 60, 0),
    # Times 0, 10, 20, 20 min and values 4, 8, 3, 9: slope Σdt·dx / Σdt² with dt = -12.5, -2.5, 7.5, 7.5.
    (feature(Aggregate.TREND, HOUR_WINDOW, unit_ms=MINUTE), 20 / 275, None),
    # Weights 1/4, 1/2, 1, 1.
    (feature(Aggregate.EWMA, half_life_ms=10 * MINUTE), (1 + 4 + 3 + 9) / 2.75, None),
    (feature(Aggregate.TIME_SINCE_FIRST, unit_ms=MINUTE), 30, None),
    (feature(Aggregate.TIME_SINCE_LAST, unit_ms=MINUTE), 10, None),
    (feature(Aggregate.DISTINCT, HOUR_WINDOW), 4, 0),
    (feature(Aggregate.MODE, HOUR_WINDOW), 3, None),  # all occur once: the smallest
    (feature(Aggregate.LAST_N, HOUR_WINDOW, n=3, kind=Type.LIST), [9, 3, 8], None),
    (feature(Aggregate.SESSION_ACTIVE, of=EVERY, gap_ms=15 * MINUTE), 1, 0),
    (feature(Aggregate.SESSION_COUNT, of=EVERY, gap_ms=10 * MINUTE), 3, 0),
    (feature(Aggregate.SESSION_DURATION, of=EVERY, gap_ms=15 * MINUTE, unit_ms=MINUTE), 20, None),
]


@pytest.mark.parametrize(
    ("f", "want", "_empty"), CASES, ids=lambda x: x.name if isinstance(x, AggregateFeature) else ""
)
def test_by_hand(f: AggregateFeature, want: float, _empty: float | None) -> None:
    assert value(f, EVENTS, NOW) == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize(
    ("f", "_want", "empty"), CASES, ids=lambda x: x.name if isinstance(x, AggregateFeature) else ""
)
def test_of_an_entity_without_events(f: AggregateFeature, _want: float, empty: float | None) -> None:
    assert value(f, [], NOW) == empty


def test_percentile_is_within_a_hundredth() -> None:
    for percent, want in ((0, 3), (25, 3), (50, 4), (75, 8), (100, 9)):
        f = feature(Aggregate.PERCENTILE, HOUR_WINDOW, quantile=percent / 100)
        assert value(f, EVENTS, NOW) == pytest.approx(want, rel=0.010001)
    assert value(f, [], NOW) is None


def test_every_aggregate_has_a_case() -> None:
    assert {f.aggregate for f, _, _ in CASES} | {Aggregate.PERCENTILE} == set(Aggregate)


def test_windows_decay_without_events() -> None:
    count = feature(Aggregate.COUNT, HOUR_WINDOW, EVERY)
    assert value(count, EVENTS, HOUR + MINUTE - 1) == 5
    assert value(count, EVENTS, HOUR + MINUTE) == 4
    assert value(count, EVENTS, HOUR + 11 * MINUTE) == 3
    assert value(count, EVENTS, 2 * HOUR) == 0


def test_variance_keeps_its_digits_beside_a_large_mean() -> None:
    events = [("a", i * 1000, 1e9 + (i % 2)) for i in range(100)]
    assert value(feature(Aggregate.VARIANCE, WEEK_WINDOW), events, HOUR) == pytest.approx(25 / 99, rel=1e-9)


def test_trend_keeps_its_digits_beside_the_epoch() -> None:
    events = [("a", 0, 1.0), ("a", 3, 2.0), ("a", 6, 3.0)]
    assert value(feature(Aggregate.TREND, WEEK_WINDOW, unit_ms=1), events, HOUR) == pytest.approx(1 / 3, rel=1e-12)


def test_trend_is_null_where_all_events_stand_at_one_time() -> None:
    assert value(feature(Aggregate.TREND, HOUR_WINDOW), [("a", 0, 1.0), ("a", 0, 2.0)], MINUTE) is None
