"""Small definitions and batches for tests of the engine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from freshet.engine.column import Column
from freshet.engine.events import EventBatch
from freshet.spec.definition import Aggregate, AggregateFeature, Definition, Feature, Field, Input, Window
from freshet.spec.expr.tree import Name, Type

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
T0 = 1_800_000_000_000

HOUR_WINDOW = Window(HOUR, MINUTE, "1h")
WEEK_WINDOW = Window(7 * DAY, HOUR, "7d")
EVERY = Input(None, None)
AMOUNT = Input(Name("amount", Type.DOUBLE), None)


def feature(
    aggregate: Aggregate,
    window: Window | None = None,
    of: Input = AMOUNT,
    *,
    name: str | None = None,
    unit_ms: int = 1000,
    gap_ms: int = 0,
    half_life_ms: int = 0,
    n: int = 0,
    quantile: float = 0.0,
    kind: Type = Type.DOUBLE,
) -> AggregateFeature:
    full = name or (f"{aggregate}_{window.text}" if window else aggregate.value)
    return AggregateFeature(
        full,
        aggregate,
        aggregate,
        of,
        window,
        kind,
        unit_ms,
        gap_ms=gap_ms,
        half_life_ms=half_life_ms,
        n=n,
        quantile=quantile,
    )


def definition(*features: Feature) -> Definition:
    return Definition(
        entity="user",
        key="user_id",
        timezone="UTC",
        timestamp="timestamp",
        event_id="event_id",
        deduplicate_ms=600_000,
        max_future_skew_ms=300_000,
        fields=(Field("amount", Type.DOUBLE, ("amount",)),),
        features=features,
        evaluation=tuple(range(len(features))),
        revision="0123456789",
    )


def batch(
    rows: Sequence[tuple[str, int] | tuple[str, int, float | None]], *, offset: int = 0, broker_ms: int | None = None
) -> EventBatch:
    """Rows of (key, t in ms after T0[, amount]) at consecutive offsets."""
    amounts = [row[2] if len(row) > 2 else 1.0 for row in rows]
    valid = np.array([a is not None for a in amounts], np.bool_)
    t = np.array([T0 + row[1] for row in rows], np.int64)
    return EventBatch(
        offset=np.arange(offset, offset + len(rows), dtype=np.int64),
        broker_ms=np.full(len(rows), t.max() if broker_ms is None else broker_ms, np.int64),
        t_ms=t,
        keys=[row[0] for row in rows],
        event_ids=[None] * len(rows),
        fields={"amount": Column(np.array([a or 0.0 for a in amounts]), valid)},
    )
