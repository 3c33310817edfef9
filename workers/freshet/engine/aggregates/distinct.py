"""distinct: how many different values. Exact up to 64 of them in a window, then HyperLogLog. 0 with none.

The sketch has 1,024 registers, its standard error is 1.04 / sqrt(1024) = 3.3 %; Flajolet, Fusy, Gandouet and Meunier,
"HyperLogLog" (2007), with the estimator of Ertl, "New cardinality estimation algorithms" (2017), algorithm 6, which
needs no corrections for small numbers. Whether a value is exact depends on the window's values alone, not on how they
came: a union is a sketch as soon as it has more than 64, and the sketch of a union is the union of the sketches.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from freshet.engine.accumulators import Events
from freshet.engine.annex.parts import EXACT_VALUES, Merged, Part, Words
from freshet.engine.column import Column, Floats, Ints
from freshet.spec.definition import AggregateFeature, Input

PRECISION = 10
"""log2 of the registers of the finest sketch."""
LEAST_PRECISION = 6
_HIGHEST = 31
"""Largest value of a register: five bits, enough for 2^31 values a register."""
_VALUE = -1.0
"""First word of a row that is a value; of one that is a register it is 2^precision + its number."""


@dataclass(frozen=True, slots=True)
class Distinct:
    """Rows (-1, value), at most 64 of them, or (2^p + register, rank) of the registers that are not empty."""

    input: Input
    width: ClassVar[int] = 2
    tiled: ClassVar[bool] = True
    text_column: ClassVar[int | None] = None

    def lift(self, events: Events) -> Floats:
        rows = np.empty((len(events.t), 2))
        rows[:, 0] = _VALUE
        rows[:, 1] = events.value + 0.0  # -0 is 0
        return rows

    def merge(self, rows: Floats, run: Ints, level: Ints) -> tuple[Floats, Ints]:
        rows, run = _largest(rows, run)
        values = rows[:, 0] == _VALUE
        many = np.bincount(run[values], minlength=len(level)) > EXACT_VALUES
        many |= np.bincount(run[~values], minlength=len(level)) > 0
        many |= level > 0
        sketched = many[run]
        if not sketched.any():
            return rows, run
        wanted = precision(level)[run]
        rows = rows.copy()
        change = values & sketched
        rows[change] = _registers(rows[change, 1], wanted[change])
        fold = ~values & sketched
        rows[fold] = _folded(rows[fold], wanted[fold])
        return _largest(rows, run)

    def weight(self, rows: Floats, run: Ints, level: Ints) -> Ints:
        values = rows[:, 0] == _VALUE
        exact, registers = (np.bincount(run[chosen], minlength=len(level)) for chosen in (values, ~values))
        # A sketch weighs no less than the values that made it one, or a union could weigh more than its parts.
        sketch = np.maximum(2 * registers + 6, np.where(level == 0, 8 * EXACT_VALUES, 0))
        out: Ints = 8 * exact + np.where(registers > 0, sketch, 0)
        return out

    def pack(self, rows: Floats, run: Ints, runs: int) -> tuple[Words, Ints, Ints]:
        """A word a value (form 0), or four registers a word (form 1): 11 bits of number, 5 of rank."""
        values = rows[:, 0] == _VALUE
        exact, registers = (np.bincount(run[chosen], minlength=runs) for chosen in (values, ~values))
        sizes: Ints = exact + -(-registers // 4)
        begin = np.cumsum(sizes) - sizes
        rank = np.arange(len(rows)) - np.searchsorted(run, run)
        words = np.zeros(int(sizes.sum()), np.uint64)
        words[begin[run[values]] + rank[values]] = rows[values, 1].view(np.uint64)
        packed = rows[~values].astype(np.int64)
        words.view(np.uint16)[4 * begin[run[~values]] + rank[~values]] = (packed[:, 0] << 5) + packed[:, 1]
        return words, sizes, (registers > 0).astype(np.int64)

    def unpack(self, words: Words, run: Ints, form: Ints) -> tuple[Floats, Ints]:
        values = form == 0
        exact = np.empty((int(np.count_nonzero(values)), 2))
        exact[:, 0], exact[:, 1] = _VALUE, words[values].view(np.float64)
        if values.all():
            return exact, run
        short = words[~values].view(np.uint16).astype(np.int64)
        whose = np.repeat(run[~values], 4)
        some = short > 0
        registers = np.column_stack((short[some] >> 5, short[some] & _HIGHEST)).astype(np.float64)
        rows, run = np.concatenate((exact, registers)), np.concatenate((run[values], whose[some]))
        order = np.argsort(run, kind="stable")
        return rows[order], run[order]


def part(feature: AggregateFeature) -> Part:
    return Distinct(feature.input)


def finish(feature: AggregateFeature, bags: Merged) -> Column:
    values = bags.rows[:, 0] == _VALUE
    count = np.bincount(bags.owner[values], minlength=bags.size).astype(np.float64)
    sketched = np.unique(bags.owner[~values])
    if len(sketched):
        guess = np.round(estimated(bags.rows[~values], bags.owner[~values], sketched, precision(bags.level)))
        # What made the sketch, unless the entity's bags are coarser, is that there are more values than that.
        count[sketched] = np.where(bags.level[sketched] == 0, np.maximum(guess, EXACT_VALUES + 1), guess)
    return Column(count)


def precision(level: Ints) -> Ints:
    """log2 of the registers at a level of coarseness."""
    out: Ints = np.maximum(LEAST_PRECISION, PRECISION - np.maximum(level - 1, 0))
    return out


def estimated(rows: Floats, owner: Ints, who: Ints, precisions: Ints) -> Floats:
    """The number of different values that made the registers of each of `who`, at its own precision."""
    place = np.searchsorted(who, owner)
    histogram = np.zeros((len(who), _HIGHEST + 1))
    np.add.at(histogram, (place, rows[:, 1].astype(np.int64)), 1.0)
    m = np.exp2(precisions[who])
    histogram[:, 0] = m - histogram.sum(axis=1)
    z = m * _tau(1.0 - histogram[:, _HIGHEST] / m)
    for k in range(_HIGHEST - 1, 0, -1):
        z = 0.5 * (z + histogram[:, k])
    z = z + m * _sigma(histogram[:, 0] / m)
    with np.errstate(divide="ignore"):
        return m * m / (2.0 * math.log(2.0)) / z


def _sigma(x: Floats) -> Floats:
    """x + Σ x^(2^k) 2^(k-1), k = 1, 2, …; infinite at 1 (no register is used)."""
    total, power, weight = x.copy(), x.copy(), 1.0
    for _ in range(60):
        power = power * power
        step = power * weight
        total = total + step
        if not (step > 1e-17 * total).any():
            break
        weight *= 2.0
    return np.where(x == 1.0, np.inf, total)


def _tau(x: Floats) -> Floats:
    """(1 - x - Σ (1 - x^(2^-k))² 2^-k) / 3, k = 1, 2, …; 0 at 0 and 1."""
    total, root, weight = 1.0 - x, x.copy(), 1.0
    for _ in range(60):
        root = np.sqrt(root)
        weight *= 0.5
        step = (1.0 - root) ** 2 * weight
        total = total - step
        if not (step > 1e-17).any():
            break
    return np.where((x == 0.0) | (x == 1.0), 0.0, total / 3.0)


def _largest(rows: Floats, run: Ints) -> tuple[Floats, Ints]:
    """Each value once, and of each register the largest rank; ordered by run, then row."""
    order = np.lexsort((rows[:, 1], rows[:, 0], run))
    rows, run = rows[order], run[order]
    last = np.ones(len(run), np.bool_)
    if len(run) > 1:
        last[:-1] = (run[1:] != run[:-1]) | (rows[1:, 0] != rows[:-1, 0])
        last[:-1] |= (rows[:-1, 0] == _VALUE) & (rows[1:, 1] != rows[:-1, 1])
    return rows[last], run[last]


def _registers(values: Floats, wanted: Ints) -> Floats:
    """The register that each value sets: the first `wanted` bits of its hash, and the place of the first 1 after."""
    hashes = _mixed(np.ascontiguousarray(values).view(np.uint64))
    p = wanted.astype(np.uint64)
    number = hashes >> (np.uint64(64) - p)
    rest = hashes << p
    # The leading zeros of `rest`: of its upper 53 bits only, which float64 holds, and more than _HIGHEST counts not.
    high = (rest >> np.uint64(11)).astype(np.float64)
    zeros = np.where(high > 0, 53 - np.frexp(high)[1], _HIGHEST)
    return np.column_stack((np.exp2(wanted) + number, np.minimum(zeros + 1, _HIGHEST)))


def _folded(rows: Floats, wanted: Ints) -> Floats:
    """Registers of finer sketches as those of one with fewer: the bits that their numbers lose come before the rest."""
    number, rank = rows[:, 0].astype(np.int64), rows[:, 1]
    p = np.frexp(rows[:, 0])[1] - 1
    lost = np.maximum(p - wanted, 0)
    low = number & ((1 << lost) - 1)
    width = np.where(low > 0, np.frexp(low.astype(np.float64))[1], 0)
    folded = np.where(low > 0, lost - width + 1, lost + rank)
    return np.column_stack((number >> lost, np.minimum(np.where(lost > 0, folded, rank), _HIGHEST)))


def _mixed(x: Words) -> Words:
    """Every bit depends on every bit: splitmix64 (Steele, Lea and Flood 2014)."""
    with np.errstate(over="ignore"):
        x = x + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
