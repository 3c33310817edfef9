"""last_n: the values of the newest n events by (event time, offset), newest first, as a list. Null with none.

One bag serves every window: all windows end at the read time, so what a window holds of its newest n events are those
of the entity's newest n that are not older than it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from freshet.engine.accumulators import Events
from freshet.engine.annex.parts import Merged, Part, PlainPacking
from freshet.engine.column import Column, Floats, Ints
from freshet.spec.definition import AggregateFeature, Input
from freshet.spec.expr.tree import Type


@dataclass(frozen=True, slots=True)
class Newest(PlainPacking):
    """Rows (t, offset, value) of the newest n events."""

    input: Input
    n: int
    width: ClassVar[int] = 3
    tiled: ClassVar[bool] = False
    text_column: ClassVar[int | None] = 2

    def lift(self, events: Events) -> Floats:
        return np.column_stack((events.t, events.offset, events.value))

    def merge(self, rows: Floats, run: Ints, level: Ints) -> tuple[Floats, Ints]:
        order = np.lexsort((-rows[:, 1], -rows[:, 0], run))
        rows, run = rows[order], run[order]
        rank = np.arange(len(run)) - np.searchsorted(run, run)
        newest = rank < self.n
        return rows[newest], run[newest]

    def weight(self, rows: Floats, run: Ints, level: Ints) -> Ints:
        return 24 * np.bincount(run, minlength=len(level))


def part(feature: AggregateFeature) -> Part:
    return Newest(feature.input, feature.n)


def finish(feature: AggregateFeature, bags: Merged) -> Column:
    inside = bags.rows[:, 0] >= bags.since[bags.owner]
    values, owner = bags.rows[inside, 2], bags.owner[inside]
    valid = np.zeros(bags.size, np.bool_)
    valid[owner] = True
    out = np.empty(bags.size, np.object_)
    for i in range(bags.size):
        out[i] = []
    of = feature.input.of.type if feature.input.of is not None else Type.DOUBLE
    for i, value in zip(owner.tolist(), values.tolist(), strict=True):
        out[i].append(_plain(value, of, bags.tables[i] if of is Type.TEXT else {}))
    return Column(out, valid)


def _plain(value: float, kind: Type, table: dict[float, str]) -> Any:
    if kind is Type.TEXT:
        return table[value]
    if kind is Type.BOOLEAN:
        return bool(value)
    return int(value) if kind is Type.INTEGER else value
