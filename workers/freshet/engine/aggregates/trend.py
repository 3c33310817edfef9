"""trend: slope of the least-squares line of value over event time, per `unit` (SQL: regr_slope).

Null below two values or where all stand at one time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from freshet.engine.accumulators import Accumulator, Trend
from freshet.engine.column import Column, Floats
from freshet.spec.definition import AggregateFeature


def accumulators(feature: AggregateFeature) -> tuple[Accumulator, ...]:
    return (Trend(feature.input),)


def finish(feature: AggregateFeature, parts: Sequence[Floats], q: Floats) -> Column:
    ctx, ctt = parts[0][:, 4], parts[0][:, 5]
    some = ctt > 0
    return Column(np.divide(ctx, ctt, out=np.zeros_like(ctx), where=some) * feature.unit_ms, some)
