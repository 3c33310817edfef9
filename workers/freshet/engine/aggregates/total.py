"""sum: of the values that are not null. 0 with none."""

from __future__ import annotations

from collections.abc import Sequence

from freshet.engine.accumulators import Accumulator, Sum
from freshet.engine.column import Column, Floats
from freshet.spec.definition import AggregateFeature


def accumulators(feature: AggregateFeature) -> tuple[Accumulator, ...]:
    return (Sum(feature.input),)


def finish(feature: AggregateFeature, parts: Sequence[Floats], q: Floats) -> Column:
    return Column(parts[0][:, 0])
