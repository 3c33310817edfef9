"""time_since_first and time_since_last: from the earliest or latest event to the read time, in `unit`.

Null with none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from freshet.engine.accumulators import Accumulator, Earliest, Latest
from freshet.engine.column import Column, Floats
from freshet.spec.definition import Aggregate, AggregateFeature


def accumulators(feature: AggregateFeature) -> tuple[Accumulator, ...]:
    first = feature.aggregate is Aggregate.TIME_SINCE_FIRST
    return (Earliest(feature.input) if first else Latest(feature.input),)


def finish(feature: AggregateFeature, parts: Sequence[Floats], q: Floats) -> Column:
    t = parts[0][:, 0]
    some = np.isfinite(t)
    return Column((q - np.where(some, t, q)) / feature.unit_ms, some)
