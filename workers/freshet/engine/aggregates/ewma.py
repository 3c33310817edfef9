"""ewma: Σ v·2^-((q - t)/h) / Σ 2^-((q - t)/h), the mean weighted by age with half-life h. Null with none.

The read time q cancels out of the quotient, so nothing has to be decayed at read time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from freshet.engine.accumulators import Accumulator, Decay
from freshet.engine.column import Column, Floats
from freshet.spec.definition import AggregateFeature


def accumulators(feature: AggregateFeature) -> tuple[Accumulator, ...]:
    return (Decay(feature.input, feature.half_life_ms),)


def finish(feature: AggregateFeature, parts: Sequence[Floats], q: Floats) -> Column:
    weight = parts[0][:, 2]
    some = weight > 0
    return Column(np.divide(parts[0][:, 1], weight, out=np.zeros_like(weight), where=some), some)
