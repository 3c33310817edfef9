"""mean: sum / count of the values that are not null. Null with none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from freshet.engine.accumulators import Accumulator, Count, Sum
from freshet.engine.column import Column, Floats
from freshet.spec.definition import AggregateFeature


def accumulators(feature: AggregateFeature) -> tuple[Accumulator, ...]:
    return (Count(feature.input), Sum(feature.input))


def finish(feature: AggregateFeature, parts: Sequence[Floats], q: Floats) -> Column:
    n = parts[0][:, 0]
    return Column(parts[1][:, 0] / np.maximum(n, 1.0), n > 0)
