"""What a part of the annex is, and the arithmetic of bags that the parts share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from freshet.engine.accumulators import Events
from freshet.engine.annex.texts import Table
from freshet.engine.column import Bools, Floats, Ints
from freshet.spec.definition import Input

Words = NDArray[np.uint64]

EXACT_VALUES = 64
"""So many different values of one window are kept as they are."""
MAX_LEVEL = 6
"""How often an entity's bags may be made coarser, when they are more than its definition allows."""


class Part(Protocol):
    """One kind of bag of one input; implementations are frozen dataclasses, equal when shareable.

    Rows say themselves how coarse they are, so merging rows of different coarseness makes them alike.
    """

    width: ClassVar[int]
    """float64 words of a row in memory."""
    tiled: ClassVar[bool]
    """False: one bag serves all windows, because it keeps the event times it needs."""
    text_column: ClassVar[int | None]
    """The column that holds text ids where the input is text and the texts are to be kept."""

    @property
    def input(self) -> Input:
        """Which events and which value of each."""

    def lift(self, events: Events) -> Floats:
        """One row an event, of any content where it is not seen: shape (events, width)."""

    def merge(self, rows: Floats, run: Ints, level: Ints) -> tuple[Floats, Ints]:
        """Merges the rows of each run into its bag; gives rows ordered by run, and then always alike, and their runs.

        `run` is ascending; `level` is the coarseness of each run, 0 the finest.
        """

    def weight(self, rows: Floats, run: Ints, level: Ints) -> Ints:
        """Bytes that each run counts against the limit, its texts apart: at least what `pack` makes, at most 8 a word
        of the rows that were merged into it, and of a merged bag never more than of its parts together."""

    def pack(self, rows: Floats, run: Ints, runs: int) -> tuple[Words, Ints, Ints]:
        """The bags as stored, how many words each has, and in which form it is, a number of the part's own."""

    def unpack(self, words: Words, run: Ints, form: Ints) -> tuple[Floats, Ints]:
        """The reverse of `pack`: `run` says whose each word is and `form` in which form. Gives rows and their runs."""


@dataclass(frozen=True, slots=True)
class Merged:
    """What a feature's value is made of: one bag an entity, of all that its window holds."""

    rows: Floats
    """As the part's `merge` gives them."""
    owner: Ints
    """Of each row, ascending: 0 … size - 1."""
    size: int
    since: Floats
    """Oldest event time of each entity's window, ms; -inf over the life."""
    level: Ints
    tables: Sequence[Table]
    """Texts of each entity; empty where the definition keeps none."""

    def counts(self) -> Ints:
        """Rows of each entity."""
        return np.bincount(self.owner, minlength=self.size)


class PlainPacking:
    """Stores rows as they are."""

    __slots__ = ()
    width: ClassVar[int]

    def pack(self, rows: Floats, run: Ints, runs: int) -> tuple[Words, Ints, Ints]:
        words: Words = np.ascontiguousarray(rows).reshape(-1).view(np.uint64)
        return words, np.bincount(run, minlength=runs) * self.width, np.zeros(runs, np.int64)

    def unpack(self, words: Words, run: Ints, form: Ints) -> tuple[Floats, Ints]:
        return words.view(np.float64).reshape(-1, self.width), run[:: self.width]


def new_runs(*columns: Ints | Floats) -> Bools:
    """Where, going down, any of the columns changes; true at the first row."""
    out = np.ones(len(columns[0]), np.bool_)
    if len(out):
        out[1:] = False
        for column in columns:
            out[1:] |= column[1:] != column[:-1]
    return out


def added(keys: Floats, counts: Floats, run: Ints) -> tuple[Floats, Floats, Ints]:
    """Equal keys of a run become one whose count is the sum: keys ascending within a run, counts, runs."""
    order = np.lexsort((keys, run))
    keys, counts, run = keys[order], counts[order], run[order]
    first = np.flatnonzero(new_runs(run, keys))
    if not len(first):
        return keys, counts, run
    return keys[first], np.add.reduceat(counts, first), run[first]
