"""The annexes of a partition's entities in memory: each as it is stored, opened when an event touches it.

Bags are as fine as their definition's limit on the bytes of an entity allows. When an event makes an entity's bags
weigh more, they become coarser, for good: `level` rises. Whether one event of a batch does that is found by cutting the
batch in halves where it could, so levels too are a function of the log (design §6.1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from freshet.engine.accumulators import Events
from freshet.engine.annex.layout import BAG_BYTES, EMPTY_HEAD, AnnexLayout, Bags, Entry, bag_runs, body_bytes
from freshet.engine.annex.parts import MAX_LEVEL
from freshet.engine.annex.texts import Table, kept, pack_texts, unpack_texts
from freshet.engine.column import Bools, Floats, Ints
from freshet.spec.definition import TEXT_CHARACTERS, Input

_DROP_EVERY = 8
"""Texts that nothing refers to any more are looked for whenever a table has grown to a multiple of it."""
_TEXT_BYTES = 16
"""What a text takes in the table beside its characters."""
_ROOM = np.int64(1) << 43
"""More than any time: an entity's number times _ROOM plus a time sorts by entity, then time."""


class ResidentAnnexes:
    """Annexes by entity slot."""

    def __init__(self, layout: AnnexLayout, slots: int) -> None:
        self.layout = layout
        self._body = [b""] * slots
        self._texts: list[Table] = [{} for _ in range(slots)] if layout.text_inputs else []
        self._raw_texts = [b""] * slots
        self.bytes = np.zeros(slots, np.int64)
        """Of each annex as stored."""
        self._weight = np.zeros(slots, np.int64)
        self._level = np.zeros(slots, np.int64)

    def resize(self, slots: int) -> None:
        """Makes place for more slots."""
        more = slots - len(self._body)
        self._body += [b""] * more
        self._raw_texts += [b""] * more
        if self.layout.text_inputs:
            self._texts += [{} for _ in range(more)]
        self.bytes, self._weight, self._level = (
            np.concatenate((old, np.zeros(more, np.int64))) for old in (self.bytes, self._weight, self._level)
        )

    def clear(self, slots: Ints) -> None:
        """Forgets these slots' annexes."""
        for slot in slots.tolist():
            self._body[slot] = self._raw_texts[slot] = b""
            if self.layout.text_inputs:
                self._texts[slot] = {}
        self.bytes[slots] = self._weight[slots] = self._level[slots] = 0

    def load(self, slots: Ints, annexes: Sequence[bytes]) -> None:
        """Takes annexes as they were stored."""
        bodies = []
        for slot, annex in zip(slots.tolist(), annexes, strict=True):
            end = body_bytes(annex)
            bodies.append(annex[:end])
            self._body[slot] = annex[:end] if annex[:end] != EMPTY_HEAD else b""
            self._raw_texts[slot] = annex[end:]
            if self.layout.text_inputs:
                self._texts[slot] = unpack_texts(annex[end:])
            self.bytes[slot] = len(annex)
        self._weight[slots], self._level[slots] = self.layout.figures(bodies)

    def annexes(self, slots: Ints) -> list[bytes]:
        """The annexes of these slots as they are to be stored."""
        return [(self._body[i] or EMPTY_HEAD) + self._raw_texts[i] if self.bytes[i] else b"" for i in slots.tolist()]

    def apply(
        self,
        inputs: Mapping[Input, Events],
        slot: Ints,
        t: Ints,
        before: Floats,
        held: Callable[[Ints], list[set[float]]],
    ) -> tuple[Ints, int]:
        """Takes a batch's events, in log order, into the annexes of their entities.

        `before` is the newest event time of each event's entity before the batch. `held` gives, of some slots, the
        numbers of the texts that their states refer to elsewhere. Returns the slots whose annexes changed, and how
        many entities' bags had to become coarser for the first time.
        """
        grown = self._take_texts(inputs, slot)
        changed, risen = self._take_bags(inputs, slot, t, before) if self.layout.entries else ([], 0)
        full = [i for i in sorted(grown) if len(self._texts[i]) % _DROP_EVERY == 0]
        if full:
            self._drop_texts(np.array(full, np.int64), held)
        for i in grown:
            self._raw_texts[i] = pack_texts(self._texts[i])
        out = np.unique(np.array([*changed, *grown], np.int64))
        for i in out.tolist():
            body, texts = self._body[i], self._raw_texts[i]
            self.bytes[i] = len(body or EMPTY_HEAD) + len(texts) if body or texts else 0
        return out, risen

    # -- texts -----------------------------------------------------------------------------------------------------

    def _take_texts(self, inputs: Mapping[Input, Events], slot: Ints) -> set[int]:
        """Puts every text into its entity's table; the slots that did not have it."""
        grown = set()
        for wanted in self.layout.text_inputs:
            events = inputs[wanted]
            at = np.flatnonzero(events.seen)
            assert events.texts is not None
            pairs = zip(slot[at].tolist(), events.value[at].tolist(), events.texts[at], strict=True)
            for i, number, text in pairs:
                if number not in self._texts[i]:
                    self._texts[i][number] = kept(text)
                    grown.add(i)
        return grown

    def _drop_texts(self, slots: Ints, held: Callable[[Ints], list[set[float]]]) -> None:
        """Drops what nothing refers to any more."""
        used = held(slots)
        decoded = self.layout.decode([self._body[i] for i in slots.tolist()])
        for entry, bags in zip(self.layout.entries, decoded.bags, strict=True):
            column = entry.part.text_column
            if column is not None and entry.part.input in self.layout.text_inputs:
                for i, number in zip(bags.owner.tolist(), bags.rows[:, column].tolist(), strict=True):
                    used[i].add(number)
        for i, numbers in zip(slots.tolist(), used, strict=True):
            self._texts[i] = {number: text for number, text in self._texts[i].items() if number in numbers}

    # -- bags ------------------------------------------------------------------------------------------------------

    def _take_bags(self, inputs: Mapping[Input, Events], slot: Ints, t: Ints, before: Floats) -> tuple[list[int], int]:
        cost = np.zeros(len(slot), np.int64)
        for entry in self.layout.entries:
            texts = entry.part.text_column is not None and entry.part.input in self.layout.text_inputs
            most = BAG_BYTES + 8 * entry.part.width + (_TEXT_BYTES + 4 * TEXT_CHARACTERS if texts else 0)
            cost += most * inputs[entry.part.input].seen
        at = np.flatnonzero(cost)
        if not len(at):
            return [], 0
        newest = _running_newest(slot, t, before)
        who, place = np.unique(slot[at], return_inverse=True)
        could = self._weight[who] + np.bincount(place, weights=cost[at], minlength=len(who))
        slow = ((could > self.layout.limit) & (self._level[who] < MAX_LEVEL))[place]
        changed: set[int] = set()
        if not slow.all():
            final = np.empty(int(slot.max()) + 1, np.int64)
            final[slot] = newest  # of an entity's events the last one's, as assignments are in order
            quick = at[~slow]
            changed |= self._merge(inputs, quick, slot, t, final[slot])
        levels = self._level[who] > 0
        for i in np.unique(place[slow]).tolist():
            changed |= self._cut(inputs, at[place == i], slot, t, newest)
        return sorted(changed), int(np.count_nonzero((self._level[who] > 0) & ~levels))

    def _cut(self, inputs: Mapping[Input, Events], at: Ints, slot: Ints, t: Ints, newest: Ints) -> set[int]:
        """Merges one entity's events: at once if the bags cannot weigh too much on the way, else in halves."""
        own = slot[at[:1]]
        heavy = self._level[own[0]] < MAX_LEVEL and (
            self._weight[own[0]] + self._weight_alone(inputs, at, own, t) > self.layout.limit
        )
        if heavy and len(at) > 1:
            middle = len(at) // 2
            changed = self._cut(inputs, at[:middle], slot, t, newest)
            return changed | self._cut(inputs, at[middle:], slot, t, newest)
        changed = self._merge(inputs, at, slot, t, newest)
        if heavy:
            self._lighten(own)
        return changed

    def _weight_alone(self, inputs: Mapping[Input, Events], at: Ints, own: Ints, t: Ints) -> int:
        """What bags of these events alone weigh, in the finest tiles: merged and rolled up they weigh no more."""
        bags = []
        for entry in self.layout.entries:
            events = inputs[entry.part.input]
            chosen = at[events.seen[at]]
            grain = entry.pyramid.grains[0] if entry.pyramid else 0
            start = t[chosen] // grain * grain if grain else np.zeros(len(chosen), np.int64)
            order = np.argsort(start, kind="stable")
            rows = entry.part.lift(events.take(chosen))[order]
            bags.append(_coarser(entry, Bags(np.zeros(len(chosen), np.int64), start[order], rows), self._level[own]))
        return int(self._weigh(own, bags)[0])

    def _merge(self, inputs: Mapping[Input, Events], at: Ints, slot: Ints, t: Ints, newest: Ints) -> set[int]:
        """Merges events `at` into their entities' bags, rolled up as of each entity's newest; the slots that changed.

        `newest` has, for every event that is an entity's last of `at`, the newest time of the entity.
        """
        who, place = np.unique(slot[at], return_inverse=True)
        latest = np.empty(len(who), np.int64)
        latest[place] = newest[at]
        had = self.layout.decode([self._body[i] for i in who.tolist()])
        bags = []
        for entry, old in zip(self.layout.entries, had.bags, strict=True):
            events = inputs[entry.part.input]
            seen = events.seen[at]
            chosen = at[seen]
            rows = entry.part.lift(events.take(chosen))
            bags.append(_merged(entry, old, place[seen], t[chosen], rows, latest, self._level[who]))
        return self._put(who, bags)

    def _put(self, who: Ints, bags: list[Bags]) -> set[int]:
        """Stores bags; the slots whose bodies changed."""
        level = self._level[who]
        self._weight[who] = self._weigh(who, bags)
        bodies = self.layout.encode(bags, level, self._weight[who])
        changed = set()
        for i, body in zip(who.tolist(), bodies, strict=True):
            if self._body[i] != body:
                self._body[i] = body
                changed.add(i)
        return changed

    def _weigh(self, who: Ints, bags: list[Bags]) -> Ints:
        total = np.zeros(len(who))
        for entry, one in zip(self.layout.entries, bags, strict=True):
            first, run = bag_runs(one.owner, one.start)
            owner = one.owner[first]
            weight = BAG_BYTES + entry.part.weight(one.rows, run, self._level[who][owner])
            total += np.bincount(owner, weights=weight, minlength=len(who))
            if entry.part.text_column is not None and entry.part.input in self.layout.text_inputs:
                numbers = one.rows[:, entry.part.text_column].tolist()
                owners = one.owner.tolist()
                slots = who.tolist()
                size = [
                    _TEXT_BYTES + len(self._texts[slots[i]].get(number, "").encode())
                    for i, number in zip(owners, numbers, strict=True)
                ]
                total += np.bincount(one.owner, weights=size, minlength=len(who))
        return total.astype(np.int64)

    def _lighten(self, slots: Ints) -> None:
        """Makes the bags of these entities coarser until they weigh no more than the limit, or cannot be coarser."""
        while True:
            slots = slots[(self._weight[slots] > self.layout.limit) & (self._level[slots] < MAX_LEVEL)]
            if not len(slots):
                return
            self._level[slots] += 1
            had = self.layout.decode([self._body[i] for i in slots.tolist()])
            bags = [
                _coarser(entry, one, self._level[slots])
                for entry, one in zip(self.layout.entries, had.bags, strict=True)
            ]
            self._put(slots, bags)


def _merged(entry: Entry, old: Bags, owner: Ints, t: Ints, rows: Floats, newest: Ints, level: Ints) -> Bags:
    """Old bags and new rows as bags, in the tiles that are due; what is older than every window is left out."""
    owner = np.concatenate((old.owner, owner))
    rows = np.concatenate((old.rows, rows))
    if entry.pyramid is None:
        start = np.zeros(len(owner), np.int64)
    else:
        start = entry.pyramid.tile(np.concatenate((old.start, t)), newest[owner])
        inside: Bools = start >= entry.pyramid.floor(newest)[owner]
        owner, start, rows = owner[inside], start[inside], rows[inside]
    order = np.lexsort((start, owner))
    return _coarser(entry, Bags(owner[order], start[order], rows[order]), level)


def _coarser(entry: Entry, bags: Bags, level: Ints) -> Bags:
    first, run = bag_runs(bags.owner, bags.start)
    rows, run = entry.part.merge(bags.rows, run, level[bags.owner[first]])
    return Bags(bags.owner[first][run], bags.start[first][run], rows)


def _running_newest(slot: Ints, t: Ints, before: Floats) -> Ints:
    """The newest event time of each event's entity once the event is taken."""
    order = np.argsort(slot, kind="stable")
    newest = np.where(np.isfinite(before), np.maximum(t, before), t).astype(np.int64)
    rank = np.cumsum(np.diff(slot[order], prepend=-1) != 0)
    out = np.empty(len(slot), np.int64)
    out[order] = np.maximum.accumulate(rank * _ROOM + newest[order]) - rank * _ROOM
    return out
