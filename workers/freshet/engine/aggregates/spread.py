"""variance and stddev of the sample: M2 / (n - 1) and its root. Null below two values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from freshet.engine.accumulators import Accumulator, Moments
from freshet.engine.column import Column, Floats
from freshet.spec.definition import Aggregate, AggregateFeature


def accumulators(feature: AggregateFeature) -> tuple[Accumulator, ...]:
    return (Moments(feature.input),)


def finish(feature: AggregateFeature, parts: Sequence[Floats], q: Floats) -> Column:
    n, squares = parts[0][:, 0], parts[0][:, 2]
    variance = squares / np.maximum(n - 1.0, 1.0)
    return Column(np.sqrt(variance) if feature.aggregate is Aggregate.STDDEV else variance, n > 1)
