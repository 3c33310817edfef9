"""Reading: states as they were written → feature values at a read time (design §5).

A lone read is a vector of one; concurrent reads are gathered into one vector.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from freshet.engine.accumulators import Accumulator
from freshet.engine.aggregates import AGGREGATES, ANNEX
from freshet.engine.annex.opened import OpenAnnexes
from freshet.engine.column import Column, Floats, Ints
from freshet.engine.evaluate import evaluate
from freshet.engine.layout import FIRST_SEEN, NEWEST, OFFSET, Layout
from freshet.engine.sessions import SESSION_AGGREGATES, Sessions
from freshet.engine.windows import merge_windows
from freshet.spec.definition import AggregateFeature, Definition, ExpressionFeature, Feature
from freshet.spec.expr.tree import Type


@dataclass(frozen=True, slots=True)
class Vectors:
    """Feature values of some entities. `offset` and `newest_ms` are -1 for one without events."""

    q_ms: Ints
    """Read time of each: max(now, its newest event + 1)."""
    offset: Ints
    """Each holds its events below this offset."""
    newest_ms: Ints
    columns: dict[str, Column]
    """In the manifest's order, defaults applied."""
    nulls: int
    """How many values became null because SQL would have raised or the result was not finite."""


class Reader:
    """The compiled read side of one definition."""

    def __init__(self, definition: Definition, layout: Layout | None = None) -> None:
        self.definition = definition
        self.layout = layout or Layout(definition)
        pyramid = self.layout.pyramid
        self._window_index = {w: i for i, w in enumerate(pyramid.windows)} if pyramid else {}
        self._wanted = self._windows_of_accumulators()
        self._order = [definition.features[i] for i in definition.evaluation]
        fixed = [f for f in definition.features if isinstance(f, AggregateFeature) and f.aggregate not in ANNEX]
        self._finish = {f.name: self._finisher(f) for f in fixed}

    def read(self, keys: Sequence[str], blobs: Sequence[bytes | None], now_ms: int) -> Vectors:
        """Values of the entities `keys` from their states; None is an entity without events.

        Raises LayoutError for a state of another layout.
        """
        have = [i for i, blob in enumerate(blobs) if blob is not None]
        fixed = np.tile(self.layout.empty, (len(keys), 1))
        counts = np.zeros(len(keys), np.int64)
        tiles = np.empty((0, self.layout.tile_width))
        annexes = [b""] * len(keys) if self.layout.annex else []
        if have:
            found, tiles, found_counts, found_annexes = self.layout.split([blob for blob in blobs if blob is not None])
            fixed[have] = found
            counts[have] = found_counts
            for i, annex in zip(have, found_annexes, strict=False):  # none where the layout has none
                annexes[i] = annex
        return self.read_states(keys, fixed, tiles, counts, annexes, now_ms)

    def read_states(
        self, keys: Sequence[str], fixed: Floats, tiles: Floats, counts: Ints, annexes: Sequence[bytes], now_ms: int
    ) -> Vectors:
        """The same from states in memory: fixed words, tile rows (each entity's oldest first), tiles of each,
        annexes (none at all where the layout has none)."""
        some = np.isfinite(fixed[:, NEWEST])
        newest = np.where(some, fixed[:, NEWEST], -1).astype(np.int64)
        q = np.maximum(now_ms, newest + 1)
        windows = None
        if self.layout.pyramid:
            windows = merge_windows(self.layout.tile, self.layout.pyramid, tiles, counts, q, self._wanted)
        opened = OpenAnnexes(self.layout.annex, annexes, q) if self.layout.annex else None
        columns, nulls = self._features(keys, fixed, windows, opened, q)
        offset = np.where(some, fixed[:, OFFSET], -1).astype(np.int64)
        return Vectors(q, offset, newest, columns, nulls)

    def _features(
        self, keys: Sequence[str], fixed: Floats, windows: Floats | None, annexes: OpenAnnexes | None, q: Ints
    ) -> tuple[dict[str, Column], int]:
        at = q.astype(np.float64)
        some = np.isfinite(fixed[:, NEWEST])
        key = np.empty(len(keys), object)
        key[:] = keys
        known: dict[str, Column] = {
            self.definition.key: Column(key),
            "first_seen": Column(np.where(some, fixed[:, FIRST_SEEN], 0.0), some),
            "last_seen": Column(np.where(some, fixed[:, NEWEST], 0.0), some),
        }
        nulls = 0
        for feature in self._order:
            if isinstance(feature, ExpressionFeature):
                column, lost = evaluate(feature.expr, known, len(keys), at, self.definition.timezone)
                nulls += lost
            elif feature.aggregate in ANNEX:
                assert annexes is not None
                column = ANNEX[feature.aggregate].finish(feature, annexes.merged(feature))
            else:
                column = self._finish[feature.name](fixed, windows, at)
                if feature.type is Type.TEXT:
                    assert annexes is not None
                    column = annexes.texts(column)
                elif feature.type is Type.BOOLEAN and column.values.dtype != np.bool_:
                    column = Column(column.values != 0, column.valid)
            known[feature.name] = _with_default(feature, column)
        return {f.name: known[f.name] for f in self.definition.features}, nulls

    def _windows_of_accumulators(self) -> dict[Accumulator, list[int]]:
        """In which windows each tile accumulator is read."""
        wanted: dict[Accumulator, set[int]] = {a: set() for a in self.layout.tile.accumulators}
        for feature in self.definition.features:
            if isinstance(feature, AggregateFeature) and feature.window and feature.aggregate not in ANNEX:
                for accumulator in AGGREGATES[feature.aggregate].accumulators(feature):
                    wanted[accumulator].add(self._window_index[feature.window])
        return {accumulator: sorted(indices) for accumulator, indices in wanted.items()}

    def _finisher(self, feature: AggregateFeature) -> Callable[[Floats, Floats | None, Floats], Column]:
        """Where the feature's accumulators stand, resolved once."""
        if feature.aggregate in SESSION_AGGREGATES:
            columns = self.layout.sessions[Sessions(feature.input, feature.gap_ms)]
            return lambda fixed, windows, q: Sessions.finish(feature, fixed[:, columns], q)
        module = AGGREGATES[feature.aggregate]
        rows = self.layout.life if feature.window is None else self.layout.tile
        places = [rows.columns[a] for a in module.accumulators(feature)]
        if feature.window is None:
            begin = self.layout.life_columns.start
            shifted = [slice(p.start + begin, p.stop + begin) for p in places]
            return lambda fixed, windows, q: module.finish(feature, [fixed[:, p] for p in shifted], q)
        index = self._window_index[feature.window]

        def windowed(fixed: Floats, windows: Floats | None, q: Floats) -> Column:
            assert windows is not None
            return module.finish(feature, [windows[:, index, p] for p in places], q)

        return windowed


def _with_default(feature: Feature, column: Column) -> Column:
    if feature.default is None or column.valid is None:
        return column
    if feature.type is Type.LIST:
        return column
    if feature.type is Type.TEXT:
        values = column.values.copy()
        values[~column.valid] = feature.default
        return Column(values)
    return Column(np.where(column.valid, column.values, feature.default))
