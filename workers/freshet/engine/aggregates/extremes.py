"""min and max: of the values that are not null. Null with none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from freshet.engine.accumulators import Accumulator, Max, Min
from freshet.engine.column import Column, Floats
from freshet.spec.definition import Aggregate, AggregateFeature


def accumulators(feature: AggregateFeature) -> tuple[Accumulator, ...]:
    return (Min(feature.input) if feature.aggregate is Aggregate.MIN else Max(feature.input),)


def finish(feature: AggregateFeature, parts: Sequence[Floats], q: Floats) -> Column:
    some = np.isfinite(parts[0][:, 0])
    return Column(np.where(some, parts[0][:, 0], 0.0), some)
