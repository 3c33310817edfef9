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
from freshet.engine.column import Bools, Column, Floats, Ints
from freshet.engine.evaluate import Run, compiled
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


@dataclass(slots=True)
class _States:
    """What features are computed from."""

    fixed: Floats
    windows: Floats | None
    annexes: OpenAnnexes | None
    q: Floats
    """Read times."""


class Reader:
    """The compiled read side of one definition."""

    def __init__(self, definition: Definition, layout: Layout | None = None) -> None:
        self.definition = definition
        self.layout = layout or Layout(definition)
        pyramid = self.layout.pyramid
        self._window_index = {w: i for i, w in enumerate(pyramid.windows)} if pyramid else {}
        self._wanted = self._windows_of_accumulators()
        order = (definition.features[i] for i in definition.evaluation)
        self._steps = [(feature.name, self._step(feature)) for feature in order]
        """How each feature is computed once those before it are: what a definition decides is decided here, as reads of
        few entities cost what their steps cost, however little each does."""

    def read(self, keys: Sequence[str], blobs: Sequence[bytes | None], now_ms: int) -> Vectors:
        """Values of the entities `keys` from their states; None is an entity without events.

        Raises LayoutError for a state of another layout.
        """
        some = [blob for blob in blobs if blob is not None]
        if some and len(some) == len(blobs):
            return self.read_states(keys, *self.layout.split(some), now_ms)
        have = [i for i, blob in enumerate(blobs) if blob is not None]
        fixed = np.tile(self.layout.empty, (len(keys), 1))
        counts = np.zeros(len(keys), np.int64)
        tiles = np.empty((0, self.layout.tile_width))
        annexes = [b""] * len(keys) if self.layout.annex else []
        if have:
            found, tiles, found_counts, found_annexes = self.layout.split(some)
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
        columns, nulls = self._features(keys, _States(fixed, windows, opened, q.astype(np.float64)), some)
        offset = np.where(some, fixed[:, OFFSET], -1).astype(np.int64)
        return Vectors(q, offset, newest, columns, nulls)

    def _features(self, keys: Sequence[str], states: _States, some: Bools) -> tuple[dict[str, Column], int]:
        key = np.empty(len(keys), object)
        key[:] = keys
        known: dict[str, Column] = {
            self.definition.key: Column(key),
            "first_seen": Column(np.where(some, states.fixed[:, FIRST_SEEN], 0.0), some),
            "last_seen": Column(np.where(some, states.fixed[:, NEWEST], 0.0), some),
        }
        run = Run(known, len(keys), states.q, self.definition.timezone)
        for name, step in self._steps:
            known[name] = step(states, run)
        return {f.name: known[f.name] for f in self.definition.features}, run.nulls

    def _windows_of_accumulators(self) -> dict[Accumulator, list[int]]:
        """In which windows each tile accumulator is read."""
        wanted: dict[Accumulator, set[int]] = {a: set() for a in self.layout.tile.accumulators}
        for feature in self.definition.features:
            if isinstance(feature, AggregateFeature) and feature.window and feature.aggregate not in ANNEX:
                for accumulator in AGGREGATES[feature.aggregate].accumulators(feature):
                    wanted[accumulator].add(self._window_index[feature.window])
        return {accumulator: sorted(indices) for accumulator, indices in wanted.items()}

    def _step(self, feature: Feature) -> _Step:
        compute = self._computing(feature)
        if feature.default is None or feature.type is Type.LIST:
            return compute
        return lambda states, run: _with_default(feature, compute(states, run))

    def _computing(self, feature: Feature) -> _Step:
        if isinstance(feature, ExpressionFeature):
            expression = compiled(feature.expr)
            return lambda states, run: run.column(expression)
        if feature.aggregate in ANNEX:
            module = ANNEX[feature.aggregate]
            return lambda states, run: module.finish(feature, _opened(states).merged(feature))
        finish = self._finisher(feature)
        if feature.type is Type.TEXT:
            return lambda states, run: _opened(states).texts(finish(states))
        if feature.type is Type.BOOLEAN:
            return lambda states, run: _as_booleans(finish(states))
        return lambda states, run: finish(states)

    def _finisher(self, feature: AggregateFeature) -> Callable[[_States], Column]:
        """Where the feature's accumulators stand, resolved once."""
        if feature.aggregate in SESSION_AGGREGATES:
            columns = self.layout.sessions[Sessions(feature.input, feature.gap_ms)]
            return lambda states: Sessions.finish(feature, states.fixed[:, columns], states.q)
        finish, accumulators = AGGREGATES[feature.aggregate].finish, AGGREGATES[feature.aggregate].accumulators(feature)
        rows = self.layout.life if feature.window is None else self.layout.tile
        places = [rows.columns[a] for a in accumulators]
        if feature.window is None:
            begin = self.layout.life_columns.start
            shifted = [slice(p.start + begin, p.stop + begin) for p in places]
            return lambda states: finish(feature, [states.fixed[:, p] for p in shifted], states.q)
        index = self._window_index[feature.window]

        def windowed(states: _States) -> Column:
            assert states.windows is not None
            windows = states.windows
            return finish(feature, [windows[:, index, p] for p in places], states.q)

        return windowed


_Step = Callable[[_States, Run], Column]


def _opened(states: _States) -> OpenAnnexes:
    assert states.annexes is not None
    return states.annexes


def _as_booleans(column: Column) -> Column:
    return column if column.values.dtype == np.bool_ else Column(column.values != 0, column.valid)


def _with_default(feature: Feature, column: Column) -> Column:
    if column.valid is None or feature.default is None:
        return column
    if feature.type is Type.TEXT:
        values = column.values.copy()
        values[~column.valid] = feature.default
        return Column(values)
    return Column(np.where(column.valid, column.values, feature.default))
