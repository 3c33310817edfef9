"""mode: the most frequent value, of several the smallest (texts by their bytes). Null with none.

Exact up to 64 different values in a window. With more there is no telling which is the most frequent without
remembering all of them: the value is null.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from freshet.engine.accumulators import Events
from freshet.engine.annex.parts import EXACT_VALUES, Merged, Part, PlainPacking, added, new_runs
from freshet.engine.column import Column, Floats, Ints
from freshet.engine.evaluate_value import DTYPES
from freshet.spec.definition import AggregateFeature, Input
from freshet.spec.expr.tree import Type

_TOO_MANY = np.inf
"""The value of the only row of a bag that had too many."""


@dataclass(frozen=True, slots=True)
class Frequencies(PlainPacking):
    """Rows (value, how often), at most 64 of them."""

    input: Input
    width: ClassVar[int] = 2
    tiled: ClassVar[bool] = True
    text_column: ClassVar[int | None] = 0

    def lift(self, events: Events) -> Floats:
        return np.column_stack((events.value + 0.0, np.ones(len(events.t))))  # -0 is 0

    def merge(self, rows: Floats, run: Ints, level: Ints) -> tuple[Floats, Ints]:
        value, often, run = added(rows[:, 0], rows[:, 1], run)
        many = np.bincount(run, minlength=len(level)) > EXACT_VALUES
        many |= level > 0
        many[run[value == _TOO_MANY]] = True
        lost = many[run]
        if lost.any():
            value, often = np.where(lost, _TOO_MANY, value), np.where(lost, 0.0, often)
            one = ~lost | new_runs(run)
            value, often, run = value[one], often[one], run[one]
        return np.column_stack((value, often)), run

    def weight(self, rows: Floats, run: Ints, level: Ints) -> Ints:
        full = np.where((rows[:, 0] == _TOO_MANY) & (level == 0)[run], 16 * EXACT_VALUES, 16)
        return np.bincount(run, weights=full, minlength=len(level)).astype(np.int64)


def part(feature: AggregateFeature) -> Part:
    return Frequencies(feature.input)


def finish(feature: AggregateFeature, bags: Merged) -> Column:
    known = bags.rows[:, 0] != _TOO_MANY
    value, often, owner = bags.rows[known, 0], bags.rows[known, 1], bags.owner[known]
    valid = np.zeros(bags.size, np.bool_)
    valid[owner] = True
    if feature.type is Type.TEXT:
        return _text(value, often, owner, bags, valid)
    out = np.zeros(bags.size)
    order = np.lexsort((value, -often, owner))
    best = order[new_runs(owner)]
    out[owner[best]] = value[best]
    return Column(out.astype(DTYPES[feature.type]), valid)


def _text(value: Floats, often: Floats, owner: Ints, bags: Merged, valid: np.ndarray) -> Column:
    out = np.full(bags.size, "", np.object_)
    most = np.zeros(bags.size)
    np.maximum.at(most, owner, often)
    best: dict[int, str] = {}
    top = often == most[owner]
    for i, number in zip(owner[top].tolist(), value[top].tolist(), strict=True):
        text = bags.tables[i][number]
        if i not in best or text.encode() < best[i].encode():
            best[i] = text
    for i, text in best.items():
        out[i] = text
    return Column(out, valid)
