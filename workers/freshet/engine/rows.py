"""Rows of accumulators: which columns stand where, and how whole rows are lifted and merged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from freshet.engine.accumulators import Accumulator, Events, First, Merge, is_text
from freshet.engine.column import Floats, Ints
from freshet.engine.spans import ranges
from freshet.spec.definition import Input

_BLOCKS = ((Merge.ADD, np.add), (Merge.MIN, np.minimum), (Merge.MAX, np.maximum))


class Rows:
    """The columns of one kind of row (a tile's or a lifetime's), one slice an accumulator.

    Additive columns come first, then minima, then maxima, so that each block merges in one numpy operation.
    """

    def __init__(self, accumulators: Iterable[Accumulator]) -> None:
        # dict.fromkeys: equal accumulators are one, order stays that of first use, so equal definitions agree.
        self.accumulators = tuple(sorted(dict.fromkeys(accumulators), key=lambda a: a.merging.value))
        self.columns: dict[Accumulator, slice] = {}
        self._blocks = []
        self._own = []
        at = 0
        ends = dict.fromkeys(Merge, 0)
        for accumulator in self.accumulators:
            self.columns[accumulator] = slice(at, at + accumulator.width)
            at += accumulator.width
            ends[accumulator.merging] = at
            if accumulator.merging is Merge.OWN:
                self._own.append((accumulator, self.columns[accumulator]))
        self.width = at
        self.text_columns = [
            self.columns[a].start + 2 for a in self.accumulators if isinstance(a, First) and is_text(a.input)
        ]
        """Those that hold numbers of texts."""
        self.identity = np.array([x for a in self.accumulators for x in a.identity], np.float64)
        begin = 0
        for kind, ufunc in _BLOCKS:
            if ends[kind]:
                self._blocks.append((ufunc, slice(begin, ends[kind])))
                begin = ends[kind]

    def lift(self, events: Mapping[Input, Events], size: int) -> Floats:
        """One row an event: shape (size, width)."""
        out = np.empty((size, self.width))
        for accumulator, columns in self.columns.items():
            lifted = accumulator.lift(events[accumulator.input])
            if accumulator.width == 1:
                out[:, columns.start] = lifted
            else:
                out[:, columns] = lifted
        return out

    def merge(self, rows: Floats, starts: Ints) -> Floats:
        """Merges runs of rows: (n, width) and the first index of each run → (runs, width)."""
        out: Floats = rows[starts]
        lengths = np.diff(starts, append=len(rows))
        # A row alone merges to itself. Where hardly any is alone, gathering the others costs more than it spares.
        runs = np.flatnonzero(lengths > 1)
        if 2 * len(runs) > len(starts):
            out[runs] = self._merge(rows, starts, lengths)[runs]
        elif len(runs):
            lengths = lengths[runs]
            out[runs] = self._merge(rows[ranges(starts[runs], lengths)], np.cumsum(lengths) - lengths, lengths)
        return out

    def _merge(self, rows: Floats, starts: Ints, lengths: Ints) -> Floats:
        out = np.empty((len(starts), self.width))
        for ufunc, columns in self._blocks:
            out[:, columns] = ufunc.reduceat(rows[:, columns], starts, axis=0)
        if self._own:
            run = np.repeat(np.arange(len(starts)), lengths)
            for accumulator, columns in self._own:
                out[:, columns] = accumulator.merge(rows[:, columns], starts, run)
        return out

    def merge_pairs(self, left: Floats, right: Floats) -> Floats:
        """Merges row i of `left` with row i of `right`."""
        out = np.empty_like(left)
        for ufunc, columns in self._blocks:
            ufunc(left[:, columns], right[:, columns], out=out[:, columns])
        for accumulator, columns in self._own:
            a, b = left[:, columns], right[:, columns]
            out[:, columns] = a
            # What merges with nothing stays as it is, and of most inputs most events see nothing.
            some = np.flatnonzero((b != accumulator.identity).any(axis=1))
            if len(some):
                both = np.empty((2 * len(some), accumulator.width))
                both[0::2], both[1::2] = a[some], b[some]
                out[some, columns] = accumulator.merge(both, 2 * np.arange(len(some)), np.arange(len(both)) // 2)
        return out

    def accumulate(self, bands: Floats, wanted: Mapping[Accumulator, Iterable[int]] | None = None) -> Floats:
        """Running merge along axis 1: (k, bands, width) → the same shape, entry b holding bands 0…b merged.

        `wanted` says at which entries accumulators of Merge.OWN are read; elsewhere they are undefined. None: at all.
        """
        k, count = bands.shape[:2]
        out = np.empty_like(bands)
        for ufunc, columns in self._blocks:
            ufunc.accumulate(bands[:, :, columns], axis=1, out=out[:, :, columns])
        for accumulator, columns in self._own:
            for b in range(count) if wanted is None else wanted[accumulator]:
                rows = bands[:, : b + 1, columns].reshape(k * (b + 1), accumulator.width)
                run = np.arange(len(rows)) // (b + 1)
                out[:, b, columns] = accumulator.merge(rows, (b + 1) * np.arange(k), run)
        return out
