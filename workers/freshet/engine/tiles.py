"""The tiles of all resident entities of a partition, in one growing array.

Each entity has a run of rows (start, then accumulators) with room at its end; its newest tile is the last row. Runs
that outgrow their room move to the end of the array, and the array is packed when half of it is left behind.
"""

from __future__ import annotations

import numpy as np

from freshet.engine.column import Bools, Floats, Ints
from freshet.engine.layout import Layout
from freshet.engine.spans import ranges

_FIRST_ROOM = 4
_NEAR = 3
"""Events that are late by less than so many tiles are merged where they belong; others have the entity's rewritten."""


class Tiles:
    """Tile rows by entity slot."""

    def __init__(self, layout: Layout, slots: int) -> None:
        if layout.pyramid is None:
            raise ValueError("a definition without windows has no tiles")
        self._rows = layout.tile
        self._pyramid = layout.pyramid
        self.data = np.empty((slots * _FIRST_ROOM, layout.tile_width))
        self.begin = np.zeros(slots, np.int64)
        self.count = np.zeros(slots, np.int64)
        self._room = np.zeros(slots, np.int64)
        self._top = 0

    def resize(self, slots: int) -> None:
        """Makes place for more slots."""
        for name in ("begin", "count", "_room"):
            old = getattr(self, name)
            new = np.zeros(slots, np.int64)
            new[: len(old)] = old
            setattr(self, name, new)

    def clear(self, slots: Ints) -> None:
        """Forgets these slots' tiles."""
        self.count[slots] = 0
        self._room[slots] = 0

    def rows_of(self, slots: Ints) -> tuple[Floats, Ints]:
        """The rows of these slots, one entity after another, oldest tile first, and how many each has."""
        count = self.count[slots]
        return self.data[ranges(self.begin[slots], count)], count

    def newest(self, slots: Ints) -> Floats:
        """The newest tile of each of these slots, none of which may be empty."""
        out: Floats = self.data[self.begin[slots] + self.count[slots] - 1]
        return out

    def store(self, slots: Ints, rows: Floats, count: Ints) -> None:
        """Replaces the tiles of these slots."""
        short = count > self._room[slots]
        if short.any():
            self._move(slots[short], count[short])
        self.count[slots] = count
        self.data[ranges(self.begin[slots], count)] = rows

    def merge(self, slots: Ints, starts: Ints, partial: Floats, newest: Ints) -> Bools:
        """Merges partial rows into tiles.

        `slots` is ascending and `starts` ascending within a slot, each pair once, starts already canonical for
        `newest`, the newest event time of each slot. Returns for each row whether more than the entity's newest tile
        changed.
        """
        near = self._near(slots, starts)
        count = self.count[slots]
        ends = np.where(count > 0, self.begin[slots] + count - 1, 0)  # without tiles `begin` is of an older array
        last = np.where(count > 0, self.data[ends, 0], -np.inf)
        body: Bools = near != 0
        late = (near < 0) & (starts < last)
        if late.any():
            again = np.isin(slots, slots[late])
            self._rebuild(np.unique(slots[late]), slots[again], starts[again], partial[again], newest[again])
            body |= again
            rest = ~again
            slots, starts, partial, near, newest = slots[rest], starts[rest], partial[rest], near[rest], newest[rest]
        here = near >= 0
        if here.any():
            at = self.begin[slots[here]] + self.count[slots[here]] - 1 - near[here]
            self.data[at, 1:] = self._rows.merge_pairs(self.data[at, 1:], partial[here])
        new = ~here
        if new.any():
            self._append(slots[new], starts[new], partial[new], newest[new])
        return body

    def _near(self, slots: Ints, starts: Ints) -> Ints:
        """How many tiles lie behind the one with this start, if it is among the newest few; else -1."""
        out = np.full(len(slots), -1, np.int64)
        left = np.arange(len(slots))
        for behind in range(_NEAR):
            left = left[self.count[slots[left]] > behind]
            start = self.data[self.begin[slots[left]] + self.count[slots[left]] - 1 - behind, 0]
            out[left[start == starts[left]]] = behind
            left = left[start > starts[left]]
            if not len(left):
                break
        return out

    def _append(self, slots: Ints, starts: Ints, partial: Floats, newest: Ints) -> None:
        who, first, added = np.unique(slots, return_index=True, return_counts=True)
        full = self.count[who] + added > self._room[who]
        if full.any():
            # Before a run grows, what no read can tell apart any more becomes one tile.
            crowded = who[full & (self.count[who] > 0)]
            if len(crowded):
                self._rebuild(crowded, *self._nothing(), newest[first][full & (self.count[who] > 0)])
            need = self.count[who] + added
            full = need > self._room[who]
            self._move(who[full], need[full])
        rank = np.arange(len(slots)) - np.repeat(first, added)
        at = self.begin[slots] + self.count[slots] + rank
        self.data[at, 0] = starts
        self.data[at, 1:] = partial
        self.count[who] += added

    def _nothing(self) -> tuple[Ints, Ints, Floats]:
        none = np.empty(0, np.int64)
        return none, none, np.empty((0, self._rows.width))

    def _rebuild(self, who: Ints, slots: Ints, starts: Ints, partial: Floats, newest: Ints) -> None:
        """Rewrites all tiles of `who`: more rows merged in, rolled up, those older than every window left out.

        `newest` belongs to `slots`, or to `who` where `slots` is empty.
        """
        old, count = self.rows_of(who)
        owner = np.concatenate((np.repeat(who, count), slots))
        latest = newest
        if len(slots):
            latest = np.empty(len(who), np.int64)
            latest[np.searchsorted(who, slots)] = newest
        start = np.concatenate((old[:, 0].astype(np.int64), starts))
        rows = np.concatenate((old[:, 1:], partial))
        place = np.searchsorted(who, owner)
        start = self._pyramid.tile(start, latest[place])
        kept = start >= self._pyramid.floor(latest)[place]
        owner, start, rows = owner[kept], start[kept], rows[kept]
        order = np.lexsort((start, owner))
        owner, start = owner[order], start[order]
        new = np.ones(len(owner), np.bool_)
        new[1:] = (owner[1:] != owner[:-1]) | (start[1:] != start[:-1])
        first = np.flatnonzero(new)
        merged = self._rows.merge(rows[order], first)
        left = np.searchsorted(who, owner[first])
        self.store(who, np.column_stack((start[first], merged)), np.bincount(left, minlength=len(who)))

    def _move(self, slots: Ints, need: Ints) -> None:
        """Gives these slots room for `need` rows and a half more."""
        room = np.maximum(need + need // 2, _FIRST_ROOM)
        total = int(room.sum())
        if self._top + total > len(self.data):
            self._pack(total)
        begin = self._top + np.cumsum(room) - room
        count = self.count[slots]
        self.data[ranges(begin, count)] = self.data[ranges(self.begin[slots], count)]
        self.begin[slots], self._room[slots] = begin, room
        self._top += total

    def _pack(self, extra: int) -> None:
        """Drops what moved runs left behind and makes place for `extra` rows more."""
        used = np.flatnonzero(self._room)
        room = self._room[used]
        total = int(room.sum())
        data = np.empty((max(2 * total, total + 2 * extra), self.data.shape[1]))
        begin = np.cumsum(room) - room
        count = self.count[used]
        data[ranges(begin, count)] = self.data[ranges(self.begin[used], count)]
        self.data, self._top = data, total
        self.begin[used] = begin
