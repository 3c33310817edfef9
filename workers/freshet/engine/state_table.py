"""The states of many entities in memory, by row: apply events, encode what changed (design §6.1, §6.2, §7).

Everything here is a function of the log: no clock, no batch boundary, no flush shows in what it answers. Which entity
a row is of, and of which partition, is known to `freshet.engine.state`: numpy's cost of a call is that of hundreds of
events, so partitions share one table and their events are applied together.
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
from freshet.engine.layout import FIRST_SEEN, NEWEST, OFFSET, Layout
from freshet.engine.ordering import stable_order
from freshet.engine.spans import ranges
from freshet.engine.tiles import Tiles
from freshet.spec.definition import Definition, Input


@dataclass(slots=True)
class Tally:
    """What a batch did, in numbers."""

    late: int = 0
    """Applied events older than their entity's newest."""
    too_late: int = 0
    """Applied events older than every window."""
    left_out_of_sessions: int = 0
    nulls: int = 0
    """Inputs that became null because SQL would have raised."""
    coarser: int = 0
    """Entities whose sets became sketches because the definition allows no more bytes."""


class StateTable:
    """States by row; rows are taken and given back."""

    def __init__(self, definition: Definition, layout: Layout, slots: int = 1024) -> None:
        self.layout = layout
        self._definition = definition
        self._free: list[int] = []
        self._used = 0
        self.fixed = np.tile(layout.empty, (slots, 1))
        self.tiles = Tiles(layout, slots) if layout.pyramid else None
        self.annexes = ResidentAnnexes(layout.annex, slots) if layout.annex else None
        self._stored = np.zeros(slots, np.int64)
        """Bytes of the value in the store once all that was encoded is written; 0: none."""
        self.body = np.zeros(slots, np.bool_)
        """Whether more than the front differs from that value."""
        self._written_ms = np.zeros(slots, np.int64)

    def take(self, count: int) -> Ints:
        """Rows for so many entities, to be filled by `load`."""
        reused = [self._free.pop() for _ in range(min(count, len(self._free)))]
        new = count - len(reused)
        rows = np.array([*reused, *range(self._used, self._used + new)], np.int64)
        self._used += new
        if self._used > len(self.fixed):
            self._resize(max(2 * len(self.fixed), self._used))
        return rows

    def give(self, rows: Ints) -> None:
        """Rows that nobody stands for any more."""
        self._free.extend(rows.tolist())
        self._clear(rows)

    def load(self, slots: Ints, blobs: Sequence[bytes | None]) -> None:
        """Fills rows with stored states; None: an entity that has none. Raises LayoutError."""
        have = [i for i, blob in enumerate(blobs) if blob is not None]
        fixed, rows, counts, annexes = self.layout.split([blob for blob in blobs if blob is not None])
        self.fixed[slots] = self.layout.empty
        self._stored[slots] = 0
        self.body[slots] = True
        self._written_ms[slots] = 0
        self._clear(slots)
        if have:
            found = slots[have]
            self.fixed[found] = fixed
            self._stored[found] = self.layout.length(counts)
            self.body[found] = False
            if self.tiles:
                self.tiles.store(found, rows, counts)
            if self.annexes:
                self.annexes.load(found, annexes)
                self._stored[found] += self.annexes.bytes[found]

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
        self.body[slots] = True
        self._written_ms[slots] = 0
        self._clear(slots)
        return reset

    def empty(self, slots: Ints) -> Bools:
        """Which of these entities have had no event: there is nothing to store or to tell of them."""
        out: Bools = np.isneginf(self.fixed[slots, NEWEST])
        return out

    def apply(
        self, slot: Ints, offset: Ints, t_ms: Ints, fields: dict[str, Column], accepted: Bools
    ) -> tuple[Bools, Bools, Tally]:
        """Takes events into the states of their rows `slot`.

        Returns which were applied, which were accepted but held by their state already (design §6.2), and figures. The
        events of an entity are in offset order.
        """
        known = offset < self.fixed[slot, OFFSET]
        applied = accepted & ~known
        skipped = accepted & known
        at = np.flatnonzero(applied)
        if not len(at):
            return applied, skipped, Tally()
        if len(at) < len(slot):
            fields = {n: c.take(at) for n, c in fields.items()}
        return applied, skipped, self._apply(slot[at], offset[at], t_ms[at], fields)

    def _apply(self, s: Ints, offset: Ints, t: Ints, fields: dict[str, Column]) -> Tally:
        inputs, nulls = self._inputs(fields, t, offset)
        before = self.fixed[s, NEWEST]
        late = int(np.count_nonzero(t < before))
        times = t.astype(np.float64)  # of another type than the words, this costs ten times as much
        np.maximum.at(self.fixed[:, NEWEST], s, times)
        np.minimum.at(self.fixed[:, FIRST_SEEN], s, times)
        np.maximum.at(self.fixed[:, OFFSET], s, (offset + 1).astype(np.float64))
        left_out = self._apply_sessions(inputs, s, t)
        if self.layout.life.width:
            self._apply_life(inputs, s)
        too_late = self._apply_tiles(inputs, s, t) if self.tiles else 0
        coarser = 0
        if self.annexes:
            changed, coarser = self.annexes.apply(inputs, s, t, before, self._texts_held)
            self.body[changed] = True
        return Tally(late, too_late, left_out, nulls, coarser)

    def encode(self, slots: Ints, now_ms: int, renew_before_ms: int) -> tuple[Ints, list[bytes], list[int], int]:
        """What to write of these rows, see `PartitionState.encode`.

        Returns an order of them, in which those whose fronts are enough come first; in that order the bytes and the
        lengths of the stored values afterwards; and how many are fronts.
        """
        whole = self.body[slots] | (self._written_ms[slots] < renew_before_ms)
        fronts, wholes = slots[~whole], slots[whole]
        blobs: list[bytes] = []
        if len(fronts):
            counts = self.tiles.count[fronts] if self.tiles else np.zeros(len(fronts), np.int64)
            raw, size = self._fronts(fronts, counts).tobytes(), self.layout.front_bytes
            blobs += [raw[begin : begin + size] for begin in range(0, len(raw), size)]
        if len(wholes):
            bodies = self._wholes(wholes)
            blobs += bodies
            self._stored[wholes] = np.fromiter(map(len, bodies), np.int64, len(bodies))
            self.body[wholes] = False
            self._written_ms[wholes] = now_ms
        order = np.concatenate((np.flatnonzero(~whole), np.flatnonzero(whole)))
        return order, blobs, self._stored[slots[order]].tolist(), len(fronts)

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

    def _resize(self, slots: int) -> None:
        more = slots - len(self.fixed)
        self.fixed = np.concatenate((self.fixed, np.tile(self.layout.empty, (more, 1))))
        self._stored = np.concatenate((self._stored, np.zeros(more, np.int64)))
        self.body = np.concatenate((self.body, np.zeros(more, np.bool_)))
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
        order = stable_order(s)
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
        order = stable_order(start - start.min())
        order = order[stable_order(s[order])]
        order = order[kept[order]]
        s, start = s[order], start[order]
        new = np.ones(len(s), np.bool_)
        new[1:] = (s[1:] != s[:-1]) | (start[1:] != start[:-1])
        first = np.flatnonzero(new)
        if len(first):
            partial = self.layout.tile.merge(rows[order], first)
            who = s[first]
            body = self.tiles.merge(who, start[first], partial, newest[order][first])
            self.body[who[body]] = True
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
