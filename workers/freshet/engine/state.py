"""The states of one partition's entities in memory: apply events, encode what changed (design §6.1, §6.2, §7).

Everything here is a function of the log: no clock, no batch boundary, no flush shows in what it answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from freshet.engine.accumulators import Events
from freshet.engine.annex.resident import ResidentAnnexes
from freshet.engine.annex.texts import text_ids
from freshet.engine.column import Bools, Column, Floats, Ints
from freshet.engine.evaluate import evaluate
from freshet.engine.events import EventBatch
from freshet.engine.layout import FIRST_SEEN, NEWEST, OFFSET, Layout
from freshet.engine.spans import ranges
from freshet.engine.tiles import Tiles
from freshet.spec.definition import Definition, Input


@dataclass(frozen=True, slots=True)
class Write:
    """One state as it is to be stored."""

    key: str
    blob: bytes
    whole: bool
    """False: `blob` is only the front, to be laid over the start of the stored value."""
    length: int
    """Bytes that the stored value has afterwards."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What a batch did. The arrays have one entry an event of the batch."""

    slot: Ints
    applied: Bools
    skipped: Bools
    """Accepted, but the state already held it (design §6.2)."""
    late: int
    """Applied events older than their entity's newest."""
    too_late: int
    """Applied events older than every window."""
    left_out_of_sessions: int
    nulls: int
    """Inputs that became null because SQL would have raised."""
    coarser: int = 0
    """Entities whose sets became sketches because the definition allows no more bytes."""


class PartitionState:
    """Resident entities of one partition. Slots are small integers that stand for entities until they are evicted."""

    def __init__(self, definition: Definition, layout: Layout, *, slots: int = 1024) -> None:
        self.layout = layout
        self._definition = definition
        self._slot: dict[str, int] = {}
        self._free: list[int] = []
        self.keys: list[str] = []
        self.fixed = np.tile(layout.empty, (slots, 1))
        self.tiles = Tiles(layout, slots) if layout.pyramid else None
        self.annexes = ResidentAnnexes(layout.annex, slots) if layout.annex else None
        self._stored = np.zeros(slots, np.int64)
        """Bytes of the value in the store once all that was encoded is written; 0: none."""
        self._body = np.zeros(slots, np.bool_)
        """Whether more than the front differs from that value."""
        self._written_ms = np.zeros(slots, np.int64)

    def __len__(self) -> int:
        return len(self._slot)

    def missing(self, keys: Sequence[str]) -> list[str]:
        """Those of `keys` that are not resident, each once."""
        return [key for key in dict.fromkeys(keys) if key not in self._slot]

    def resident(self) -> Ints:
        """Slots of all resident entities."""
        return np.fromiter(self._slot.values(), np.int64, len(self._slot))

    def slots(self, keys: Sequence[str]) -> Ints:
        """Slots of resident entities. Raises KeyError."""
        return np.fromiter(map(self._slot.__getitem__, keys), np.int64, len(keys))

    def load(self, keys: Sequence[str], blobs: Sequence[bytes | None]) -> None:
        """Makes entities resident from their stored states; None: it has none. Raises LayoutError."""
        have = [i for i, blob in enumerate(blobs) if blob is not None]
        fixed, rows, counts, annexes = self.layout.split([blob for blob in blobs if blob is not None])
        slots = self._take_slots(keys)
        self.fixed[slots] = self.layout.empty
        self._stored[slots] = 0
        self._body[slots] = True
        self._written_ms[slots] = 0
        self._clear(slots)
        if have:
            found = slots[have]
            self.fixed[found] = fixed
            self._stored[found] = self.layout.length(counts)
            self._body[found] = False
            if self.tiles:
                self.tiles.store(found, rows, counts)
            if self.annexes:
                self.annexes.load(found, annexes)
                self._stored[found] += self.annexes.bytes[found]

    def evict(self, slots: Ints) -> None:
        """Forgets entities. What they held and was not written is lost: the owner knows when they are clean."""
        for slot in slots.tolist():
            del self._slot[self.keys[slot]]
            self.keys[slot] = ""
        self._free.extend(slots.tolist())
        self._clear(slots)

    def erase(self, slots: Ints, offsets: Ints) -> Bools:
        """Forgets what these resident entities did before the records at `offsets`; each entity stands once.

        Their states begin anew behind those records, so events that lie before them count as held. Returns which
        were reset: a state with later events was reset by whoever applied those (design §6.2). To say it twice is no
        harm.
        """
        reset: Bools = (offsets >= self.fixed[slots, OFFSET]) | (
            self.empty(slots) & (offsets + 1 == self.fixed[slots, OFFSET])
        )
        slots = slots[reset]
        self.fixed[slots] = self.layout.empty
        self.fixed[slots, OFFSET] = offsets[reset] + 1
        self._stored[slots] = 0
        self._body[slots] = True
        self._written_ms[slots] = 0
        self._clear(slots)
        return reset

    def empty(self, slots: Ints) -> Bools:
        """Which of these entities have had no event: there is nothing to store or to tell of them."""
        out: Bools = np.isneginf(self.fixed[slots, NEWEST])
        return out

    def apply(self, batch: EventBatch, accepted: Bools) -> Applied:
        """Takes the accepted events of a batch, whose entities are all resident, into their states."""
        slot = self.slots(batch.keys)
        known = batch.offset < self.fixed[slot, OFFSET]
        applied = accepted & ~known
        skipped = accepted & known
        at = np.flatnonzero(applied)
        if not len(at):
            return Applied(slot, applied, skipped, 0, 0, 0, 0)
        fields = batch.fields if len(at) == len(batch) else {n: c.take(at) for n, c in batch.fields.items()}
        s, t, offset = slot[at], batch.t_ms[at], batch.offset[at]
        inputs, nulls = self._inputs(fields, t, offset)
        before = self.fixed[s, NEWEST]
        late = int(np.count_nonzero(t < before))
        np.maximum.at(self.fixed[:, NEWEST], s, t)
        np.minimum.at(self.fixed[:, FIRST_SEEN], s, t)
        np.maximum.at(self.fixed[:, OFFSET], s, offset + 1)
        left_out = self._apply_sessions(inputs, s, t)
        if self.layout.life.width:
            self._apply_life(inputs, s)
        too_late = self._apply_tiles(inputs, s, t) if self.tiles else 0
        coarser = 0
        if self.annexes:
            changed, coarser = self.annexes.apply(inputs, s, t, before, self._texts_held)
            self._body[changed] = True
        return Applied(slot, applied, skipped, late, too_late, left_out, nulls, coarser)

    def encode(self, slots: Ints, *, now_ms: int = 0, renew_before_ms: int = 0) -> list[Write]:
        """What to store for these entities, each of which has had an event.

        Entities whose last whole write was before `renew_before_ms` are written whole, since only that renews a TTL.
        The states count as stored from here on: if a write fails, all of this object is to be dropped.
        """
        whole = self._body[slots] | (self._written_ms[slots] < renew_before_ms)
        fronts, wholes = slots[~whole], slots[whole]
        writes = []
        if len(fronts):
            counts = self.tiles.count[fronts] if self.tiles else np.zeros(len(fronts), np.int64)
            raw, size = self._fronts(fronts, counts).tobytes(), self.layout.front_bytes
            for i, (slot, length) in enumerate(zip(fronts.tolist(), self._stored[fronts].tolist(), strict=True)):
                writes.append(Write(self.keys[slot], raw[i * size : i * size + size], False, length))
        if len(wholes):
            blobs = self._wholes(wholes)
            writes.extend(
                Write(self.keys[slot], blob, True, len(blob)) for slot, blob in zip(wholes.tolist(), blobs, strict=True)
            )
            self._stored[wholes] = np.fromiter(map(len, blobs), np.int64, len(blobs))
            self._body[wholes] = False
            self._written_ms[wholes] = now_ms
        return writes

    def gather(self, slots: Ints) -> tuple[Floats, Floats, Ints, list[bytes]]:
        """Fixed words, tile rows, tile counts and annexes of these entities, as `Reader.read_states` takes them."""
        annexes = self.annexes.annexes(slots) if self.annexes else []
        if self.tiles is None:
            return self.fixed[slots], np.empty((0, 0)), np.zeros(len(slots), np.int64), annexes
        rows, counts = self.tiles.rows_of(slots)
        return self.fixed[slots], rows, counts, annexes

    def _clear(self, slots: Ints) -> None:
        if self.tiles:
            self.tiles.clear(slots)
        if self.annexes:
            self.annexes.clear(slots)

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
        if len(self.keys) > len(self.fixed):
            self._resize(max(2 * len(self.fixed), len(self.keys)))
        return out

    def _resize(self, slots: int) -> None:
        more = slots - len(self.fixed)
        self.fixed = np.concatenate((self.fixed, np.tile(self.layout.empty, (more, 1))))
        self._stored = np.concatenate((self._stored, np.zeros(more, np.int64)))
        self._body = np.concatenate((self._body, np.zeros(more, np.bool_)))
        self._written_ms = np.concatenate((self._written_ms, np.zeros(more, np.int64)))
        if self.tiles:
            self.tiles.resize(slots)
        if self.annexes:
            self.annexes.resize(slots)

    def _inputs(self, fields: dict[str, Column], t: Ints, offset: Ints) -> tuple[dict[Input, Events], int]:
        """What each input of the definition sees of the events; equal expressions are computed once."""
        size, nulls = len(t), 0
        times, offsets = t.astype(np.float64), offset.astype(np.float64)
        cache: dict[object, Column] = {}
        out = {}
        for item in self.layout.inputs:
            for expr in (item.where, item.of):
                if expr is not None and expr not in cache:
                    cache[expr], lost = evaluate(expr, fields, size, None, self._definition.timezone)
                    nulls += lost
            seen = np.ones(size, np.bool_)
            if item.where is not None:
                where = cache[item.where]
                seen = where.values.astype(np.bool_) & where.mask()
            value, texts = times, None
            if item.of is not None:
                of = cache[item.of]
                seen = seen & of.mask()
                if of.values.dtype != object:
                    value = of.values.astype(np.float64)
                else:
                    value, texts = text_ids(of.values, seen), of.values
            out[item] = Events(value, seen, times, offsets, texts)
        return out, nulls

    def _apply_sessions(self, inputs: dict[Input, Events], s: Ints, t: Ints) -> int:
        left_out = 0
        for sessions, columns in self.layout.sessions.items():
            seen = inputs[sessions.input].seen
            who, entity = np.unique(s[seen], return_inverse=True)
            if len(who):
                state = self.fixed[who, columns]
                left_out += sessions.apply(state, entity, t[seen])
                self.fixed[who, columns] = state
        return left_out

    def _apply_life(self, inputs: dict[Input, Events], s: Ints) -> None:
        order = np.argsort(s, kind="stable")
        who = s[order]
        first = np.flatnonzero(np.diff(who, prepend=-1))
        partial = self.layout.life.merge(self.layout.life.lift(inputs, len(s))[order], first)
        who, columns = who[first], self.layout.life_columns
        self.fixed[who, columns] = self.layout.life.merge_pairs(self.fixed[who, columns], partial)

    def _apply_tiles(self, inputs: dict[Input, Events], s: Ints, t: Ints) -> int:
        assert self.tiles is not None
        assert self.layout.pyramid is not None
        newest = self.fixed[s, NEWEST].astype(np.int64)
        start = self.layout.pyramid.tile(t, newest)
        # An entity's own oldest edge is only worth computing where an event could lie below it.
        kept = np.ones(len(t), np.bool_)
        old = np.flatnonzero(start < newest + 1 - int(self.layout.pyramid.length.max()))
        kept[old] = start[old] >= self.layout.pyramid.floor(newest[old])
        rows = self.layout.tile.lift(inputs, len(s))
        order = np.lexsort((start, s))
        order = order[kept[order]]
        s, start = s[order], start[order]
        new = np.ones(len(s), np.bool_)
        new[1:] = (s[1:] != s[:-1]) | (start[1:] != start[:-1])
        first = np.flatnonzero(new)
        if len(first):
            partial = self.layout.tile.merge(rows[order], first)
            who = s[first]
            body = self.tiles.merge(who, start[first], partial, newest[order][first])
            self._body[who[body]] = True
        return len(t) - len(order)

    def _texts_held(self, slots: Ints) -> list[set[float]]:
        """The numbers of the texts that fixed words and tiles of these entities refer to."""
        out: list[set[float]] = [set() for _ in slots]
        begin = self.layout.life_columns.start
        for column in self.layout.life.text_columns:
            for used, number in zip(out, self.fixed[slots, begin + column].tolist(), strict=True):
                used.add(number)
        if self.tiles and self.layout.tile.text_columns:
            rows, counts = self.tiles.rows_of(slots)
            owner = np.repeat(np.arange(len(slots)), counts).tolist()
            for column in self.layout.tile.text_columns:
                for i, number in zip(owner, rows[:, 1 + column].tolist(), strict=True):
                    out[i].add(number)
        return out

    def _fronts(self, slots: Ints, counts: Ints) -> Floats:
        annexes = self.annexes.bytes[slots] if self.annexes else np.zeros(len(slots), np.int64)
        parts = [self.layout.heads(counts, annexes), self.fixed[slots]]
        if self.tiles:
            parts.append(self.tiles.newest(slots))
        return np.concatenate(parts, axis=1)

    def _wholes(self, slots: Ints) -> list[bytes]:
        counts = self.tiles.count[slots] if self.tiles else np.zeros(len(slots), np.int64)
        lengths = self.layout.length(counts)
        words = np.empty(int(lengths.sum()) // 8)
        begin = (np.cumsum(lengths) - lengths) // 8
        fronts = self._fronts(slots, counts)
        words[begin[:, None] + np.arange(fronts.shape[1])] = fronts
        if self.tiles:
            older = counts - 1
            to = begin + fronts.shape[1]
            rows = self.tiles.data[ranges(self.tiles.begin[slots], older)]
            words[ranges(to, older * self.layout.tile_width)] = rows.reshape(-1)
        raw = memoryview(words.view(np.uint8))  # type: ignore[arg-type]
        ends = (begin * 8 + lengths).tolist()
        blobs = [bytes(raw[a:b]) for a, b in zip((begin * 8).tolist(), ends, strict=True)]
        if self.annexes:
            blobs = [blob + annex for blob, annex in zip(blobs, self.annexes.annexes(slots), strict=True)]
        return blobs
