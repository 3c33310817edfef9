"""The states of one partition's entities in memory (design §6.1, §6.2, §7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, filterfalse, repeat
from typing import NamedTuple

import numpy as np

from freshet.engine.column import Bools, Column, Ints
from freshet.engine.events import EventBatch
from freshet.engine.layout import Layout
from freshet.engine.state_table import StateTable, Tally
from freshet.spec.definition import Definition


class Write(NamedTuple):
    """One state as it is to be stored."""

    key: str
    blob: bytes
    whole: bool
    """False: `blob` is only the front, to be laid over the start of the stored value."""
    length: int
    """Bytes that the stored value has afterwards."""
    ttl_ms: int | None = None
    """Life of a value written whole; None: for ever. Under a front it goes on."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What a batch did. The arrays have one entry an event of the batch."""

    slot: Ints
    applied: Bools
    skipped: Bools
    """Accepted, but the state already held it (design §6.2)."""
    tally: Tally = field(default_factory=Tally)


class PartitionState:
    """Resident entities of one partition. Slots are small integers that stand for entities until they are evicted."""

    def __init__(
        self, definition: Definition, layout: Layout, *, slots: int = 1024, table: StateTable | None = None
    ) -> None:
        """`table` is shared with other partitions of this process; None: one of its own."""
        self.layout = layout
        self.table = table or StateTable(definition, layout, slots)
        self._slot: dict[str, int] = {}
        self._free: list[int] = []
        self.keys: list[str] = []
        self._row = np.zeros(slots, np.int64)
        """By slot the row of the table."""

    def __len__(self) -> int:
        return len(self._slot)

    def close(self) -> None:
        """Gives all rows back. Nothing else may be called afterwards: the rows are other entities' now."""
        self.table.give(self._row[self.resident()])
        del self.table

    def missing(self, keys: Sequence[str]) -> list[str]:
        """Those of `keys` that are not resident, each once."""
        return list(dict.fromkeys(filterfalse(self._slot.__contains__, keys)))

    def resident(self) -> Ints:
        """Slots of all resident entities."""
        return np.fromiter(self._slot.values(), np.int64, len(self._slot))

    def slots(self, keys: Sequence[str]) -> Ints:
        """Slots of resident entities. Raises KeyError."""
        return np.fromiter(map(self._slot.__getitem__, keys), np.int64, len(keys))

    def rows(self, slots: Ints) -> Ints:
        """Where these entities stand in the table."""
        out: Ints = self._row[slots]
        return out

    def load(self, keys: Sequence[str], blobs: Sequence[bytes | None]) -> None:
        """Makes entities resident from their stored states; None: it has none. Raises LayoutError."""
        rows = self.table.take(len(keys))
        try:
            self.table.load(rows, blobs)
        except BaseException:
            self.table.give(rows)
            raise
        slots = self._take_slots(keys)
        self._row[slots] = rows

    def evict(self, slots: Ints) -> None:
        """Forgets entities. What they held and was not written is lost: the owner knows when they are clean."""
        for slot in slots.tolist():
            del self._slot[self.keys[slot]]
            self.keys[slot] = ""
        self._free.extend(slots.tolist())
        self.table.give(self._row[slots])

    def erase(self, slots: Ints, offsets: Ints) -> Bools:
        """See `StateTable.erase`."""
        return self.table.erase(self._row[slots], offsets)

    def empty(self, slots: Ints) -> Bools:
        """Which of these entities have had no event: there is nothing to store or to tell of them."""
        return self.table.empty(self._row[slots])

    def apply(self, batch: EventBatch, accepted: Bools) -> Applied:
        """Takes the accepted events of a batch, whose entities are all resident, into their states."""
        slot = self.slots(batch.keys)
        taken = self.table.apply(self._row[slot], batch.offset, batch.t_ms, batch.fields, accepted)
        return Applied(slot, *taken)

    def encode(
        self, slots: Ints, *, now_ms: int = 0, renew_before_ms: int = 0, ttl_ms: int | None = None
    ) -> list[Write]:
        """What to store for these entities, each of which has had an event, for so long.

        Entities whose last whole write was before `renew_before_ms` are written whole, since only that renews a TTL.
        The states count as stored from here on: if a write fails, all of this object is to be dropped.
        """
        order, blobs, lengths, fronts = self.table.encode(self._row[slots], now_ms, renew_before_ms)
        keys = map(self.keys.__getitem__, slots[order].tolist())
        whole = chain(repeat(False, fronts), repeat(True, len(blobs) - fronts))
        return list(map(Write._make, zip(keys, blobs, whole, lengths, repeat(ttl_ms, len(blobs)), strict=True)))

    def _take_slots(self, keys: Sequence[str]) -> Ints:
        out = np.empty(len(keys), np.int64)
        for i, key in enumerate(keys):
            if self._free:
                slot = self._free.pop()
                self.keys[slot] = key
            else:
                slot = len(self.keys)
                self.keys.append(key)
            out[i] = self._slot[key] = slot
        if len(self.keys) > len(self._row):
            more = np.zeros(max(len(self._row), len(self.keys) - len(self._row)), np.int64)
            self._row = np.concatenate((self._row, more))
        return out


def apply_together(parts: Sequence[tuple[PartitionState, EventBatch, Bools]]) -> list[Applied]:
    """`PartitionState.apply` of several partitions with one table, at the cost of one. The tally of all is the first's.

    No partition's states depend on another's events: an entity is of one partition.
    """
    if len(parts) == 1:
        states, batch, accepted = parts[0]
        return [states.apply(batch, accepted)]
    slots = [states.slots(batch.keys) for states, batch, _ in parts]
    rows = np.concatenate([states.rows(slot) for (states, _, _), slot in zip(parts, slots, strict=True)])
    batches = [batch for _, batch, _ in parts]
    offset, t_ms = (np.concatenate([getattr(batch, name) for batch in batches]) for name in ("offset", "t_ms"))
    fields = {name: _concatenated([batch.fields[name] for batch in batches]) for name in batches[0].fields}
    accepted = np.concatenate([accepted for _, _, accepted in parts])
    applied, skipped, tally = parts[0][0].table.apply(rows, offset, t_ms, fields, accepted)
    cuts = np.cumsum([len(batch) for batch in batches])[:-1]
    told = [tally, *(Tally() for _ in parts[1:])]
    return [Applied(*one) for one in zip(slots, np.split(applied, cuts), np.split(skipped, cuts), told, strict=True)]


def _concatenated(columns: Sequence[Column]) -> Column:
    valid = None
    if any(column.valid is not None for column in columns):
        valid = np.concatenate([column.mask() for column in columns])
    return Column(np.concatenate([column.values for column in columns]), valid)
