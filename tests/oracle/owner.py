"""What a processor does with the engine, on a dict: take over, consume, flush, crash. One partition, one owner.

The store holds states and, under one offset, progress and the duplicate filter, as design §6 has it: states may be
ahead of progress (a flush that was cut off), never behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from freshet.dev.oracle.log import Log
from freshet.engine.column import Bools
from freshet.engine.duplicates import DuplicateFilter, event_hashes
from freshet.engine.events import EventBatch
from freshet.engine.layout import NEWEST, Layout
from freshet.engine.reader import Reader, Vectors
from freshet.engine.state import Applied, PartitionState, Write
from freshet.engine.state_table import StateTable
from freshet.processor.pending import passable
from freshet.spec.definition import Definition


@dataclass(slots=True)
class Store:
    """What outlives a crash."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    offset: int = 0
    duplicates: bytes | None = None
    buckets: dict[int, bytes] = field(default_factory=dict)
    deleted: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    """Offset of the erasure and last value of each state that went with it."""

    def put(self, write: Write) -> None:
        """One state write: a whole value, or a front laid over the start of the stored one."""
        if write.whole:
            self.blobs[write.key] = write.blob
        else:
            self.blobs[write.key] = write.blob + self.blobs[write.key][len(write.blob) :]
        assert len(self.blobs[write.key]) == write.length, f"{write.key!r}: stored value of another length than meant"

    def progress(self) -> Store:
        """A copy of the part that moves with progress: to go back to it later."""
        return replace(self, blobs={}, buckets=dict(self.buckets))

    def rewind(self, to: Store) -> None:
        """Progress and duplicate filter as they were at an earlier offset; states stay as they are.

        A deletion is one step with progress: what was deleted since is there again.
        """
        assert to.offset <= self.offset, "nothing moves progress forward but a flush, which also deletes"
        for key, (offset, blob) in self.deleted.items():
            if offset >= to.offset:
                self.blobs.setdefault(key, blob)
        self.offset, self.duplicates, self.buckets = to.offset, to.duplicates, dict(to.buckets)


class Admitted(NamedTuple):
    """Records whose events may change states."""

    stop: int
    batch: EventBatch
    accepted: Bools
    erased: list[str]


class Owner:
    """The owner of one partition, from take-over to crash."""

    def __init__(self, definition: Definition, log: Log, store: Store, table: StateTable | None = None) -> None:
        self.definition = definition
        self.layout = Layout(definition)
        self.reader = Reader(definition, self.layout)
        self.states = PartitionState(definition, self.layout, slots=4, table=table)
        self.store = store
        self._log = log
        self._dirty: dict[str, int] = {}
        """Offset of the first record of each that is in no stored state."""
        self._gone: dict[str, int] = {}
        """Offsets of erasures whose stored states are to go when progress passes them."""
        self.position = int(np.searchsorted(log.offset, store.offset))
        """Index of the next record."""
        self.filter = DuplicateFilter(definition.deduplicate_ms, store.duplicates)
        self.filter.load({minute: store.buckets[minute] for minute in self.filter.minutes})

    def _offset(self, position: int) -> int:
        """The offset after all records before index `position`; never below what progress already says."""
        after = int(self._log.offset[position - 1]) + 1 if position > 0 else 0
        return max(after, self.store.offset)

    def consume(self, stop: int) -> Bools:
        """Takes the records from the current position until before index `stop`.

        Returns for each valid one whether the duplicate filter accepted it.
        """
        admitted = self.admit(stop)
        self.applied(admitted, self.states.apply(admitted.batch, admitted.accepted))
        return admitted.accepted

    def admit(self, stop: int) -> Admitted:
        """All of `consume` before events change states."""
        log, start = self._log, self.position
        batch = log.batch(self.definition, start, stop)
        records = np.flatnonzero(log.valid(self.definition)[start:stop])
        hashes = event_hashes(batch.keys, batch.event_ids)
        accepted = self.filter.accept(log.offset[start:stop], log.broker_ms[start:stop], records, hashes)
        erasures = {key: start + i for i, key in log.erasures(start, stop)}
        new = self.states.missing([*batch.keys, *erasures])
        self.states.load(new, [self.store.blobs.get(key) for key in new])
        slots = self.states.slots(list(erasures))
        reset = self.states.erase(slots, log.offset[list(erasures.values())])
        erased = [key for key, done in zip(erasures, reset.tolist(), strict=True) if done]
        self._gone |= {key: int(log.offset[erasures[key]]) for key in erased}
        return Admitted(stop, batch, accepted, erased)

    def applied(self, admitted: Admitted, applied: Applied) -> None:
        """All of `consume` afterwards."""
        stop, batch, _, erased = admitted
        for i in np.flatnonzero(applied.applied | applied.skipped).tolist():
            if applied.applied[i] or batch.keys[i] in erased:
                self._dirty.setdefault(batch.keys[i], int(batch.offset[i]))
        for key in erased:
            self._dirty.setdefault(key, self._gone[key])
        self.position = max(self.position, stop)

    def flush(self, *, cut_off_after: int | None = None, hold_back: int = 0) -> None:
        """Writes what changed and then moves progress.

        `cut_off_after`: dies after so many writes. `hold_back`: leaves progress so many records behind the states, as
        outputs that are not acknowledged do.
        """
        slots = self.states.slots(list(self._dirty))
        empty = self.states.empty(slots)
        writes = self.states.encode(slots[~empty])
        for write in writes[:cut_off_after]:
            self.store.put(write)
        if cut_off_after is not None:
            return
        left = {self.states.keys[slot] for slot in slots[empty].tolist()}
        self._dirty = {key: first for key, first in self._dirty.items() if key in left}
        offset = self._delete(self._offset(self.position - hold_back))
        changes = self.filter.changes(offset)
        for minute, data in changes.append.items():
            self.store.buckets[minute] = self.store.buckets.get(minute, b"") + data
        for minute in changes.drop:
            self.store.buckets.pop(minute, None)
        self.store.duplicates, self.store.offset = changes.index, offset

    def _delete(self, offset: int) -> int:
        """Deletes the states of erased entities, in one step with progress; returns where that may move to."""
        first = np.array(list(self._dirty.values()), np.int64)
        at = np.array([self._gone[key] for key in self._dirty], np.int64)
        offset = max(passable(first, at, offset), self.store.offset)
        for key in [key for key in self._dirty if self._gone[key] < offset]:
            del self._dirty[key]
            if key in self.store.blobs:
                self.store.deleted[key] = self._gone[key], self.store.blobs.pop(key)
        return offset

    def evict(self, keys: Sequence[str]) -> None:
        """Forgets those of `keys` that are resident and clean."""
        resident = set(keys) - set(self.states.missing(keys)) - set(self._dirty)
        self.states.evict(self.states.slots(sorted(resident)))

    def reload(self) -> None:
        """Flushes, forgets every entity, and reads all of them back from the store."""
        self.flush()
        self.evict(list(self.store.blobs))
        self.states.load(list(self.store.blobs), list(self.store.blobs.values()))

    def wholes(self) -> dict[str, bytes]:
        """What whole writes of all resident entities that have events would store."""
        slots = self.states.resident()
        held = slots[np.isfinite(self.states.table.fixed[self.states.rows(slots), NEWEST])]
        return {write.key: write.blob for write in self.states.encode(held, renew_before_ms=1)}

    def read(self, key: str, now_ms: int, *, stored: bool) -> Vectors:
        """The entity's features at a time, from the store or, if it is resident and `stored` is false, from memory."""
        if stored or self.states.missing([key]):
            return self.reader.read([key], [self.store.blobs.get(key)], now_ms)
        rows = self.states.rows(self.states.slots([key]))
        return self.reader.read_states([key], *self.states.table.gather(rows), now_ms)
