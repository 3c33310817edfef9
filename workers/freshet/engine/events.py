"""A micro-batch of accepted-so-far events of one partition, as columns."""

from __future__ import annotations

from dataclasses import dataclass

from freshet.engine.column import Column, Ints


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Valid records in offset order, duplicates not yet left out: rows of E (design §5) before the duplicate rule."""

    offset: Ints
    broker_ms: Ints
    t_ms: Ints
    """min(event timestamp, broker_ms)."""
    keys: list[str]
    event_ids: list[str | None]
    """None: the record has none and is never a duplicate."""
    fields: dict[str, Column]
    """One column a field of the definition."""
    clamped: int = 0
    """How many had a timestamp after broker_ms."""

    def __len__(self) -> int:
        return len(self.keys)
