"""Annexes opened to be read: what each window of a feature holds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from freshet.engine.annex.layout import AnnexLayout, bag_runs, body_bytes
from freshet.engine.annex.parts import Merged
from freshet.engine.annex.texts import Table, unpack_texts
from freshet.engine.column import Column, Floats, Ints
from freshet.spec.definition import AggregateFeature, Window


class OpenAnnexes:
    """The annexes of some entities, each read at its time `q` (ms)."""

    def __init__(self, layout: AnnexLayout, annexes: Sequence[bytes], q: Ints) -> None:
        self._layout = layout
        self._q = q
        ends = [body_bytes(annex) for annex in annexes]
        self._decoded = layout.decode([annex[:end] for annex, end in zip(annexes, ends, strict=True)])
        self._tables: list[Table] = []
        if layout.text_inputs:
            self._tables = [unpack_texts(annex[end:]) for annex, end in zip(annexes, ends, strict=True)]
        self._merged: dict[tuple[int, Window | None], Merged] = {}

    def merged(self, feature: AggregateFeature) -> Merged:
        """What the feature's window holds, one bag an entity."""
        name = self._layout.index(feature), feature.window
        found = self._merged.get(name)
        if found is None:
            found = self._merged[name] = self._merge(*name)
        return found

    def texts(self, numbers: Column) -> Column:
        """Numbers of texts, one an entity, as the texts."""
        out = np.full(len(numbers.values), "", np.object_)
        for i in np.flatnonzero(numbers.mask()).tolist():
            out[i] = self._tables[i][float(numbers.values[i])]
        return Column(out, numbers.valid)

    def _merge(self, index: int, window: Window | None) -> Merged:
        entry, bags = self._layout.entries[index], self._decoded.bags[index]
        size = len(self._q)
        since: Floats = np.full(size, -np.inf)
        rows, owner, level = bags.rows, bags.owner, self._decoded.level
        if window is not None:
            edge = (self._q - window.length_ms) // window.hop_ms * window.hop_ms
            since = edge.astype(np.float64)
            if entry.pyramid is not None:
                inside = bags.start >= edge[owner]
                rows, owner = rows[inside], owner[inside]
                first, run = bag_runs(owner, np.zeros(len(owner), np.int64))
                whose = owner[first]
                rows, run = entry.part.merge(rows, run, level[whose])
                owner = whose[run]
        return Merged(rows, owner, size, since, level, self._tables)
