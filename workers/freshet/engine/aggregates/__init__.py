"""One file an aggregate: which accumulators it needs and how its value comes from them.

To add one: its name in `freshet.spec.definition.Aggregate`, its file here, its line in `AGGREGATES`, or in `ANNEX` if
what it keeps has no fixed width, its test.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from freshet.engine.accumulators import Accumulator
from freshet.engine.aggregates import (
    count,
    distinct,
    ewma,
    extremes,
    last_n,
    mean,
    mode,
    percentile,
    picks,
    rate,
    spread,
    time_since,
    total,
    trend,
)
from freshet.engine.annex.parts import Merged, Part
from freshet.engine.column import Column, Floats
from freshet.spec.definition import Aggregate, AggregateFeature


class AggregateModule(Protocol):
    """What a file of this folder offers."""

    def accumulators(self, feature: AggregateFeature) -> tuple[Accumulator, ...]:
        """The accumulators that the feature reads."""

    def finish(self, feature: AggregateFeature, parts: Sequence[Floats], q: Floats) -> Column:
        """The value of each entity.

        `parts` has one array (entities, width) for each of `accumulators(feature)`, merged over the feature's span;
        `q` is each entity's read time, ms since 1970.
        """


class AnnexModule(Protocol):
    """What a file of this folder offers if what it keeps has no fixed width."""

    def part(self, feature: AggregateFeature) -> Part:
        """The bags that the feature reads."""

    def finish(self, feature: AggregateFeature, bags: Merged) -> Column:
        """The value of each entity, of all that the feature's window holds."""


AGGREGATES: dict[Aggregate, AggregateModule] = {
    Aggregate.COUNT: count,
    Aggregate.SUM: total,
    Aggregate.MEAN: mean,
    Aggregate.MIN: extremes,
    Aggregate.MAX: extremes,
    Aggregate.STDDEV: spread,
    Aggregate.VARIANCE: spread,
    Aggregate.FIRST: picks,
    Aggregate.LAST: picks,
    Aggregate.RATE: rate,
    Aggregate.TREND: trend,
    Aggregate.EWMA: ewma,
    Aggregate.TIME_SINCE_FIRST: time_since,
    Aggregate.TIME_SINCE_LAST: time_since,
}
"""Those of fixed width, but for session_*, which depend on the log's order and live in `freshet.engine.sessions`."""

ANNEX: dict[Aggregate, AnnexModule] = {
    Aggregate.DISTINCT: distinct,
    Aggregate.MODE: mode,
    Aggregate.PERCENTILE: percentile,
    Aggregate.LAST_N: last_n,
}
"""Those whose state is in the annex."""
