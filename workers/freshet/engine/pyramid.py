"""The tile pyramid: which tile an event belongs to and when finer tiles may become one (design §5).

A read of an entity never lies before its newest event, so all that matters of a time t is where it stands relative to
the oldest edges of the windows at `newest + 1`, the earliest possible read: below the edges of every window that needs
a grain, that grain can be forgotten. Nothing here depends on a clock or on how the log was cut into batches.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from freshet.engine.column import Ints
from freshet.spec.definition import Window


class Pyramid:
    """The grains that a set of windows needs, finest first. Times are int64 ms since 1970."""

    def __init__(self, windows: Sequence[Window]) -> None:
        if not windows:
            raise ValueError("a pyramid needs at least one window")
        self.windows = tuple(windows)
        self.length = np.array([w.length_ms for w in windows], np.int64)
        self.hop = np.array([w.hop_ms for w in windows], np.int64)
        self.nested = bool((np.diff(self.length) >= 0).all() and (np.diff(self.hop) >= 0).all())
        """Whether every window lies inside the next at every read time: longer ones are nowhere finer."""
        self.grains = sorted({w.hop_ms for w in windows})
        # For each coarser grain, the windows that need something finer.
        self._finer = [[i for i, w in enumerate(windows) if w.hop_ms < grain] for grain in self.grains[1:]]

    def edges(self, q: Ints) -> Ints:
        """Oldest edge of every window at read times q: shape (len(q), windows)."""
        out: Ints = (q[:, None] - self.length) // self.hop * self.hop
        return out

    def floor(self, newest: Ints) -> Ints:
        """Event times below this are in no window any more, for entities whose newest events are given."""
        out: Ints = self.edges(newest + 1).min(axis=1)
        return out

    def tile(self, t: Ints, newest: Ints) -> Ints:
        """Start of the tile of time t (an event's, or a finer tile's start) for an entity with this newest event."""
        start: Ints = t // self.grains[0] * self.grains[0]
        if len(self.grains) == 1:
            return start
        # Cheap test first: nearly every event is younger than all that could be coarse.
        old = np.flatnonzero(t < newest - self.length[self._finer[0]].max() + 1)
        if len(old):
            edges = self.edges(newest[old] + 1)
            fine, times = start[old], t[old]
            for grain, finer in zip(self.grains[1:], self._finer, strict=True):
                limit = edges[:, finer].min(axis=1) // grain * grain
                fine = np.where(times < limit, times // grain * grain, fine)
            start[old] = fine
        return start
