"""percentile: a value below or at which so many percent of the values lie, to 1 %. Null with none.

The value meant is SQL's quantile_disc: number max(1, n - floor(n - q·n)) of the n values in order. Values are counted
in buckets whose bounds grow by 1.01 / 0.99, and the answer is the point of that value's bucket from which both bounds
are 1 % away: Masson, Rim and Lee, "DDSketch" (2019). Bounds are fixed, so merging is adding counts. Between -1e-9 and
1e-9 values count as 0, beyond ±1e15 as ±1e15.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from freshet.engine.accumulators import Events
from freshet.engine.annex.parts import Merged, Part, Words, added, new_runs
from freshet.engine.column import Column, Floats, Ints
from freshet.spec.definition import AggregateFeature, Input

ERROR = 0.01
LEAST, MOST = 1e-9, 1e15
_GROWTH = (1 + ERROR) / (1 - ERROR)
_LOG = math.log(_GROWTH)
_SHIFT = 1 - math.ceil(math.log(LEAST) / _LOG)
"""Bucket numbers of positive values begin at 1; 0 is for 0, and negative values have negative ones."""


@dataclass(frozen=True, slots=True)
class Buckets:
    """Rows (bucket, how many). A coarser level joins buckets and keeps the outermost one's number."""

    input: Input
    width: ClassVar[int] = 2
    tiled: ClassVar[bool] = True
    text_column: ClassVar[int | None] = None

    def lift(self, events: Events) -> Floats:
        size = np.clip(np.abs(events.value), LEAST, MOST)
        number = np.ceil(np.log(size) / _LOG) + _SHIFT
        bucket = np.where(np.abs(events.value) < LEAST, 0.0, np.copysign(number, events.value))
        return np.column_stack((bucket, np.ones(len(bucket))))

    def merge(self, rows: Floats, run: Ints, level: Ints) -> tuple[Floats, Ints]:
        bucket = rows[:, 0]
        if level.any():
            step = np.exp2(level[run])
            joined = np.ceil((np.abs(bucket) - _SHIFT) / step) * step + _SHIFT
            bucket = np.where(bucket == 0, 0.0, np.copysign(joined, bucket))
        bucket, many, run = added(bucket, rows[:, 1], run)
        return np.column_stack((bucket, many)), run

    def weight(self, rows: Floats, run: Ints, level: Ints) -> Ints:
        return 8 * np.bincount(run, minlength=len(level))

    def pack(self, rows: Floats, run: Ints, runs: int) -> tuple[Words, Ints, Ints]:
        """A word a bucket: 32 bits of its number, 32 of the count."""
        packed = np.empty((len(rows), 2), np.uint32)
        packed[:, 0] = rows[:, 0].astype(np.int64).astype(np.int32).view(np.uint32)
        packed[:, 1] = np.minimum(rows[:, 1], 2.0**32 - 1).astype(np.uint32)
        return packed.reshape(-1).view(np.uint64), np.bincount(run, minlength=runs), np.zeros(runs, np.int64)

    def unpack(self, words: Words, run: Ints, form: Ints) -> tuple[Floats, Ints]:
        packed = words.view(np.uint32).reshape(-1, 2)
        return np.column_stack((packed[:, 0].view(np.int32), packed[:, 1])).astype(np.float64), run


def part(feature: AggregateFeature) -> Part:
    return Buckets(feature.input)


def finish(feature: AggregateFeature, bags: Merged) -> Column:
    out = np.zeros(bags.size)
    bucket, many, owner = bags.rows[:, 0], bags.rows[:, 1], bags.owner
    total = np.bincount(owner, weights=many, minlength=bags.size)
    some = total > 0
    if some.any():
        wanted = np.maximum(1.0, total - np.floor(total - feature.quantile * total))
        # Rows are in order of value: the first whose running count reaches the wanted place.
        running = np.cumsum(many)
        before = np.concatenate(([0.0], running))[np.searchsorted(owner, owner)]
        reached = running - before >= wanted[owner]
        reached &= new_runs(owner) | ~np.concatenate(([False], reached[:-1]))
        out[owner[reached]] = value_of(bucket[reached], bags.level[owner[reached]])
    return Column(out, some)


def value_of(bucket: Floats, level: Ints) -> Floats:
    """The value that stands for a bucket: as far below its upper bound as above its lower one, relatively."""
    growth = _GROWTH ** np.exp2(level)
    size = np.exp((np.abs(bucket) - _SHIFT) * _LOG) * 2.0 / (1.0 + growth)
    return np.where(bucket == 0, 0.0, np.copysign(size, bucket))
