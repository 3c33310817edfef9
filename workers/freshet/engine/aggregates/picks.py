"""first and last: the value of the earliest or latest event by (event time, offset). Null with none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from freshet.engine.accumulators import Accumulator, First, Last
from freshet.engine.column import Column, Floats
from freshet.spec.definition import Aggregate, AggregateFeature


def accumulators(feature: AggregateFeature) -> tuple[Accumulator, ...]:
    return (First(feature.input) if feature.aggregate is Aggregate.FIRST else Last(feature.input),)


def finish(feature: AggregateFeature, parts: Sequence[Floats], q: Floats) -> Column:
    return Column(parts[0][:, 2], np.isfinite(parts[0][:, 0]))
