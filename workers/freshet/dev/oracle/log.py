"""The raw log of one partition: what Kafka would hold, before the meaning of design §5 is applied to it.

The engine is fed from slices of it (`batch`), the oracle reads all of it (`accepted`), so both start from the same
records and neither sees the other's work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from freshet.engine.column import Bools, Column, Ints
from freshet.engine.events import EventBatch
from freshet.spec.definition import Definition, Field
from freshet.spec.expr.tree import Type


class Record(NamedTuple):
    """One record as a person writes it down. Times are ms since 1970."""

    offset: int
    broker_ms: int
    """The record's Kafka timestamp."""
    t: int
    """The event's own timestamp; may lie after `broker_ms`."""
    key: str
    event_id: str | None = None
    fields: Mapping[str, Any] = {}
    """Values of event fields; a missing one is null."""
    malformed: bool = False
    """A record that no decoder accepts: it takes an offset and moves log time, nothing else."""
    erase: bool = False
    """A control record: what the entity did before it is forgotten."""


@dataclass(frozen=True, slots=True)
class Log:
    """Records of one partition in offset order, as columns. `event_ms` is the event's own timestamp."""

    offset: Ints
    broker_ms: Ints
    event_ms: Ints
    keys: list[str]
    event_ids: list[str | None]
    fields: dict[str, Column]
    malformed: Bools
    erase: Bools

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def end(self) -> int:
        """The offset after the last record."""
        return int(self.offset[-1]) + 1 if len(self) else 0

    def valid(self, definition: Definition) -> Bools:
        """Records that are events and no dead letters: well formed and not too far in the future."""
        out: Bools = ~self.malformed & ~self.erase & (self.event_ms <= self.broker_ms + definition.max_future_skew_ms)
        return out

    def clamped(self) -> Ints:
        """Event times as they count: never after the record reached the broker."""
        return np.minimum(self.event_ms, self.broker_ms)

    def log_time(self) -> Ints:
        """Running maximum of broker times over all records, the malformed ones too."""
        return np.maximum.accumulate(self.broker_ms) if len(self) else self.broker_ms

    def accepted(self, definition: Definition) -> Bools:
        """Records of E: valid and no duplicate.

        Whether a record is a duplicate depends on whether earlier ones were, so this is a loop and not SQL: it keeps
        the log time of the last accepted record of every (entity, event id), which is the latest one there is since
        log time never falls.
        """
        valid, now = self.valid(definition), self.log_time()
        out = np.zeros(len(self), np.bool_)
        last: dict[tuple[str, str], int] = {}
        for i in np.flatnonzero(valid).tolist():
            event_id = self.event_ids[i]
            if event_id is None or definition.deduplicate_ms == 0:
                out[i] = True
                continue
            name = (self.keys[i], event_id)
            if name not in last or last[name] < now[i] - definition.deduplicate_ms:
                last[name] = int(now[i])
                out[i] = True
        return out

    def erasures(self, start: int = 0, stop: int | None = None) -> list[tuple[int, str]]:
        """Index after `start` and entity of each erasure among records `start` ≤ index < `stop`."""
        return [(i, self.keys[start + i]) for i in np.flatnonzero(self.erase[start:stop]).tolist()]

    def batch(self, definition: Definition, start: int = 0, stop: int | None = None) -> EventBatch:
        """The valid ones of records `start` ≤ index < `stop`, as a decoder hands them to the engine."""
        at = np.flatnonzero(self.valid(definition)[start:stop]) + start
        t = self.clamped()
        return EventBatch(
            offset=self.offset[at],
            broker_ms=self.broker_ms[at],
            t_ms=t[at],
            keys=[self.keys[i] for i in at.tolist()],
            event_ids=[self.event_ids[i] for i in at.tolist()],
            fields={name: column.take(at) for name, column in self.fields.items()},
            clamped=self.event_ms[at] > self.broker_ms[at],
        )

    def record(self, i: int) -> Record:
        """Record number `i`, to be printed in a report."""
        fields = {n: c.values[i].item() if c.values.dtype != object else c.values[i] for n, c in self.fields.items()}
        nulls = {n for n, c in self.fields.items() if not c.mask()[i]}
        return Record(
            int(self.offset[i]),
            int(self.broker_ms[i]),
            int(self.event_ms[i]),
            self.keys[i],
            self.event_ids[i],
            {n: None if n in nulls else v for n, v in fields.items()},
            bool(self.malformed[i]),
            bool(self.erase[i]),
        )


def log_of(records: Sequence[Record], definition: Definition) -> Log:
    """The log that holds exactly these records."""
    return Log(
        offset=np.array([r.offset for r in records], np.int64),
        broker_ms=np.array([r.broker_ms for r in records], np.int64),
        event_ms=np.array([r.t for r in records], np.int64),
        keys=[r.key for r in records],
        event_ids=[r.event_id for r in records],
        fields={f.name: column_of([r.fields.get(f.name) for r in records], f) for f in definition.fields},
        malformed=np.array([r.malformed for r in records], np.bool_),
        erase=np.array([r.erase for r in records], np.bool_),
    )


_KINDS: dict[Type, tuple[Any, Any]] = {
    Type.DOUBLE: (np.float64, 0.0),
    Type.INTEGER: (np.float64, 0.0),
    Type.BOOLEAN: (np.bool_, False),
    Type.TEXT: (object, ""),
    Type.LIST: (object, None),
}


def column_of(values: Sequence[Any], field: Field) -> Column:
    """Values of a field, None for null, as the decoder would give them."""
    dtype, filler = _KINDS[field.type]
    valid = np.array([v is not None for v in values], np.bool_)
    data: NDArray[Any] = np.empty(len(values), dtype)
    for i, value in enumerate(values):
        data[i] = filler if value is None else value
    return Column(data, None if valid.all() else valid)
