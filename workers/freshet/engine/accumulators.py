"""Accumulators: the partial aggregates that tiles and lifetimes hold (design §5, §7).

An accumulator is a few float64 columns with an identity, a `lift` that makes one event's columns, and an
associative `merge` of runs of rows. Events into tiles, tiles into coarser tiles and tiles into windows are all the
same merge. Features with the same input share accumulators, since equal accumulators are one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from freshet.engine.column import Bools, Floats, Ints
from freshet.spec.definition import Input
from freshet.spec.expr.tree import Type


class Merge(Enum):
    """How columns merge. Columns of the first three kinds stand side by side and merge in one operation each."""

    ADD = 0
    MIN = 1
    MAX = 2
    OWN = 3


@dataclass(frozen=True, slots=True)
class Events:
    """What `lift` sees: one entry an event.

    `value` is finite where `seen`, anything elsewhere; `seen` is true where the input's `where` holds and its `of`
    is not null.
    """

    value: Floats
    seen: Bools
    t: Floats
    """Event time, ms since 1970."""
    offset: Floats
    texts: NDArray[Any] | None = None
    """Where the input is text: the texts, whose numbers `value` has (`freshet.engine.annex.texts`)."""

    def take(self, at: Ints) -> Events:
        """The events at these indices."""
        texts = None if self.texts is None else self.texts[at]
        return Events(self.value[at], self.seen[at], self.t[at], self.offset[at], texts)


class Accumulator(Protocol):
    """What the layout needs of an accumulator; implementations are frozen dataclasses, equal when shareable."""

    width: ClassVar[int]
    merging: ClassVar[Merge]
    identity: ClassVar[tuple[float, ...]]

    @property
    def input(self) -> Input:
        """Which events and which value of each."""

    def lift(self, events: Events) -> Floats:
        """One row an event; the identity where the event is not seen. Shape (events,) or (events, width)."""

    def merge(self, rows: Floats, starts: Ints, run: Ints) -> Floats:
        """Rows (n, width) → (runs, width). Runs begin at `starts` and are never empty; `run` is each row's run.

        Only called for Merge.OWN.
        """


class _Simple:
    """Accumulators of one column that numpy's own reductions merge."""

    __slots__ = ()
    width: ClassVar[int] = 1

    def merge(self, rows: Floats, starts: Ints, run: Ints) -> Floats:
        raise TypeError(f"{type(self).__name__} is merged by its block")


@dataclass(frozen=True, slots=True)
class Count(_Simple):
    """Number of events."""

    input: Input
    merging: ClassVar[Merge] = Merge.ADD
    identity: ClassVar[tuple[float, ...]] = (0.0,)

    def lift(self, events: Events) -> Floats:
        return events.seen.astype(np.float64)


@dataclass(frozen=True, slots=True)
class Sum(_Simple):
    """Sum of values."""

    input: Input
    merging: ClassVar[Merge] = Merge.ADD
    identity: ClassVar[tuple[float, ...]] = (0.0,)

    def lift(self, events: Events) -> Floats:
        return np.where(events.seen, events.value, 0.0)


@dataclass(frozen=True, slots=True)
class Min(_Simple):
    """Smallest value; +inf if none."""

    input: Input
    merging: ClassVar[Merge] = Merge.MIN
    identity: ClassVar[tuple[float, ...]] = (np.inf,)

    def lift(self, events: Events) -> Floats:
        return np.where(events.seen, events.value, np.inf)


@dataclass(frozen=True, slots=True)
class Max(_Simple):
    """Largest value; -inf if none."""

    input: Input
    merging: ClassVar[Merge] = Merge.MAX
    identity: ClassVar[tuple[float, ...]] = (-np.inf,)

    def lift(self, events: Events) -> Floats:
        return np.where(events.seen, events.value, -np.inf)


@dataclass(frozen=True, slots=True)
class Earliest(_Simple):
    """Smallest event time; +inf if none."""

    input: Input
    merging: ClassVar[Merge] = Merge.MIN
    identity: ClassVar[tuple[float, ...]] = (np.inf,)

    def lift(self, events: Events) -> Floats:
        return np.where(events.seen, events.t, np.inf)


@dataclass(frozen=True, slots=True)
class Latest(_Simple):
    """Largest event time; -inf if none."""

    input: Input
    merging: ClassVar[Merge] = Merge.MAX
    identity: ClassVar[tuple[float, ...]] = (-np.inf,)

    def lift(self, events: Events) -> Floats:
        return np.where(events.seen, events.t, -np.inf)


@dataclass(frozen=True, slots=True)
class Moments:
    """(n, mean, M2 = Σ(x - mean)²), merged as in Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm
    for computing sample variances" (1979): no cancellation where the mean is large beside the spread.
    """

    input: Input
    width: ClassVar[int] = 3
    merging: ClassVar[Merge] = Merge.OWN
    identity: ClassVar[tuple[float, ...]] = (0.0, 0.0, 0.0)

    def lift(self, events: Events) -> Floats:
        seen = events.seen.astype(np.float64)
        return np.column_stack((seen, np.where(events.seen, events.value, 0.0), np.zeros(len(seen))))

    def merge(self, rows: Floats, starts: Ints, run: Ints) -> Floats:
        n, mean = rows[:, 0], rows[:, 1]
        total = np.add.reduceat(n, starts)
        centre = np.add.reduceat(n * mean, starts) / np.maximum(total, 1.0)
        away = mean - centre[run]
        # The centre is rounded; one correction takes its error out of the mean.
        centre = centre + np.add.reduceat(n * away, starts) / np.maximum(total, 1.0)
        away = mean - centre[run]
        return _stack(total, centre, np.add.reduceat(rows[:, 2] + n * away * away, starts))


@dataclass(frozen=True, slots=True)
class Trend:
    """(n, mean x, origin, mean t - origin, Σ(t - mean t)(x - mean x), Σ(t - mean t)²), merged like Moments.

    Times are ms. The origin is the newest t, a whole number: a mean of 1.8e12 ms would be rounded to 0.0002 ms, which
    is much beside events that lie a few ms apart.
    """

    input: Input
    width: ClassVar[int] = 6
    merging: ClassVar[Merge] = Merge.OWN
    identity: ClassVar[tuple[float, ...]] = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)

    def lift(self, events: Events) -> Floats:
        rows = np.zeros((len(events.t), 6))
        rows[:, 0] = events.seen
        rows[:, 1] = np.where(events.seen, events.value, 0.0)
        rows[:, 2] = np.where(events.seen, events.t, 0.0)
        return rows

    def merge(self, rows: Floats, starts: Ints, run: Ints) -> Floats:
        n, x = rows[:, 0], rows[:, 1]
        total = np.add.reduceat(n, starts)
        some = np.maximum(total, 1.0)
        origin = np.maximum.reduceat(rows[:, 2], starts)
        t = np.where(n > 0, rows[:, 2] - origin[run] + rows[:, 3], 0.0)
        mean_x = np.add.reduceat(n * x, starts) / some
        mean_t = np.add.reduceat(n * t, starts) / some
        dx = x - mean_x[run]
        dt = t - mean_t[run]
        ctx = np.add.reduceat(rows[:, 4] + n * dt * dx, starts)
        ctt = np.add.reduceat(rows[:, 5] + n * dt * dt, starts)
        return _stack(total, mean_x, origin, mean_t, ctx, ctt)


def _stack(*columns: Floats) -> Floats:
    out = np.empty((len(columns[0]), len(columns)))
    for i, column in enumerate(columns):
        out[:, i] = column
    return out


def _pick(rows: Floats, starts: Ints, order: NDArray[np.intp], last: bool) -> Floats:
    """The first or last row of each run, once the rows of every run are in `order`."""
    at = np.append(starts[1:], len(rows)) - 1 if last else starts
    return rows[order[at]]


@dataclass(frozen=True, slots=True)
class First:
    """(t, offset, value) of the earliest event by (t, offset); t is +inf if none."""

    input: Input
    width: ClassVar[int] = 3
    merging: ClassVar[Merge] = Merge.OWN
    identity: ClassVar[tuple[float, ...]] = (np.inf, 0.0, 0.0)
    empty: ClassVar[float] = np.inf
    last: ClassVar[bool] = False

    def lift(self, events: Events) -> Floats:
        rows = np.zeros((len(events.t), 3))
        rows[:, 0] = np.where(events.seen, events.t, self.empty)
        rows[:, 1] = np.where(events.seen, events.offset, 0.0)
        rows[:, 2] = np.where(events.seen, events.value, 0.0)
        return rows

    def merge(self, rows: Floats, starts: Ints, run: Ints) -> Floats:
        return _pick(rows, starts, np.lexsort((rows[:, 1], rows[:, 0], run)), self.last)


def is_text(wanted: Input) -> bool:
    """Whether the values are numbers that stand for texts."""
    return wanted.of is not None and wanted.of.type is Type.TEXT


@dataclass(frozen=True, slots=True)
class Last(First):
    """(t, offset, value) of the latest event by (t, offset); t is -inf if none."""

    identity: ClassVar[tuple[float, ...]] = (-np.inf, 0.0, 0.0)
    empty: ClassVar[float] = -np.inf
    last: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Decay:
    """(newest t, Σ v·2^-((newest - t)/h), Σ 2^-((newest - t)/h)); newest t is -inf if none."""

    input: Input
    half_life_ms: int
    width: ClassVar[int] = 3
    merging: ClassVar[Merge] = Merge.OWN
    identity: ClassVar[tuple[float, ...]] = (-np.inf, 0.0, 0.0)

    def lift(self, events: Events) -> Floats:
        rows = np.zeros((len(events.t), 3))
        rows[:, 0] = np.where(events.seen, events.t, -np.inf)
        rows[:, 1] = np.where(events.seen, events.value, 0.0)
        rows[:, 2] = events.seen
        return rows

    def merge(self, rows: Floats, starts: Ints, run: Ints) -> Floats:
        newest = np.maximum.reduceat(rows[:, 0], starts)
        at = newest[run]
        age = np.zeros(len(rows))
        np.subtract(at, rows[:, 0], out=age, where=np.isfinite(rows[:, 0]))
        weight = np.exp2(-age / self.half_life_ms)
        return np.column_stack((newest, np.add.reduceat(rows[:, 1:] * weight[:, None], starts)))
