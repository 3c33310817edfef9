"""A micro-batch of accepted-so-far events of one or several partitions, as columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from freshet.engine.column import Bools, Column, Ints


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Valid records, those of a partition in offset order, duplicates not yet left out: rows of E (design §5) before
    the duplicate rule."""

    offset: Ints
    broker_ms: Ints
    t_ms: Ints
    """min(event timestamp, broker_ms)."""
    keys: list[str]
    event_ids: list[str | None]
    """None: the record has none and is never a duplicate."""
    fields: dict[str, Column]
    """One column a field of the definition."""
    clamped: Bools | None = None
    """Whose timestamps were after broker_ms; None: nobody's."""

    def __len__(self) -> int:
        return len(self.keys)

    def part(self, begin: int, end: int) -> EventBatch:
        """The events from index `begin` until before `end`."""
        cut = slice(begin, end)
        fields = {
            name: Column(column.values[cut], None if column.valid is None else column.valid[cut])
            for name, column in self.fields.items()
        }
        clamped = None if self.clamped is None else self.clamped[cut]
        arrays = self.offset[cut], self.broker_ms[cut], self.t_ms[cut]
        return EventBatch(*arrays, self.keys[cut], self.event_ids[cut], fields, clamped)

    def select(self, kept: Bools) -> EventBatch:
        """Those where `kept`."""
        at: Ints = np.flatnonzero(kept)
        fields = {name: column.take(at) for name, column in self.fields.items()}
        keys, ids = ([texts[i] for i in at.tolist()] for texts in (self.keys, self.event_ids))
        clamped = None if self.clamped is None else self.clamped[at]
        return EventBatch(self.offset[at], self.broker_ms[at], self.t_ms[at], keys, ids, fields, clamped)
