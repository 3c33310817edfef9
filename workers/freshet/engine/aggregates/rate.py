"""rate: events in the window per `unit` of its length. 0 with none."""

from __future__ import annotations

from collections.abc import Sequence

from freshet.engine.accumulators import Accumulator, Count
from freshet.engine.column import Column, Floats
from freshet.spec.definition import AggregateFeature


def accumulators(feature: AggregateFeature) -> tuple[Accumulator, ...]:
    return (Count(feature.input),)


def finish(feature: AggregateFeature, parts: Sequence[Floats], q: Floats) -> Column:
    if feature.window is None:
        raise ValueError(f"{feature.name}: a rate needs a window")
    return Column(parts[0][:, 0] / (feature.window.length_ms / feature.unit_ms))
