"""What one partition still owes: states to write or delete and vectors to send, by entity slot (design §6.5, §6.8)."""

from __future__ import annotations

import numpy as np

from freshet.engine.column import Ints
from freshet.processor.outputs import NOTHING_HELD


class Pending:
    """For each slot the smallest offset that is not written, and the smallest whose vector is not sent."""

    def __init__(self) -> None:
        self._dirty = np.empty(0, np.int64)
        self._due = np.empty(0, np.int64)
        self._sent_ms = np.empty(0, np.int64)
        self._touched = np.empty(0, np.int64)
        self._erased = np.empty(0, np.int64)
        self._clock = 0

    def resize(self, slots: int) -> None:
        """Makes place for slots below `slots`."""
        more = slots - len(self._dirty)
        if more > 0:
            more = max(more, len(self._dirty))
            nothing, zero = np.full(more, NOTHING_HELD), np.zeros(more, np.int64)
            self._dirty = np.concatenate((self._dirty, nothing))
            self._due = np.concatenate((self._due, nothing))
            self._sent_ms = np.concatenate((self._sent_ms, zero))
            self._touched = np.concatenate((self._touched, zero))
            self._erased = np.concatenate((self._erased, nothing))

    def loaded(self, slots: Ints) -> None:
        """These slots stand for other entities from now on."""
        self._sent_ms[slots] = 0

    def applied(self, slots: Ints, offsets: Ints) -> None:
        """Events were taken into the states of these slots."""
        np.minimum.at(self._dirty, slots, offsets)

    def seen(self, slots: Ints, offsets: Ints, *, outputs: bool) -> None:
        """Events of these slots were applied, or skipped because the state holds them: vectors are due for both."""
        self._clock += 1
        self._touched[slots] = self._clock
        if outputs:
            np.minimum.at(self._due, slots, offsets)

    def erased(self, slots: Ints, offsets: Ints) -> None:
        """Records at these offsets made these slots forget everything."""
        np.minimum.at(self._dirty, slots, offsets)
        self._erased[slots] = offsets

    def emptied(self, slots: Ints) -> None:
        """These slots have nothing to tell: their vectors are void, and so are the events that they wait for."""
        self._dirty[slots] = np.minimum(self._dirty[slots], self._due[slots])
        self._due[slots] = NOTHING_HELD

    def silence(self, slots: Ints) -> None:
        """There is nothing to tell of these slots."""
        self._due[slots] = NOTHING_HELD

    def erasable(self, slots: Ints, move_to: int) -> tuple[Ints, int]:
        """Those of these empty slots whose stored states go when the offset moves, and how far it may (`passable`)."""
        first, at = self._dirty[slots], self._erased[slots]
        move_to = passable(first, at, move_to)
        return slots[at < move_to], move_to

    @property
    def dirty(self) -> Ints:
        """Slots whose states are to be written."""
        return np.flatnonzero(self._dirty != NOTHING_HELD)

    def written(self, slots: Ints) -> None:
        """The states of these slots are on their way."""
        self._dirty[slots] = NOTHING_HELD

    def due(self, now_ms: int, every_ms: int) -> Ints:
        """Slots whose vectors are due and were not sent within `every_ms`."""
        slots = np.flatnonzero(self._due != NOTHING_HELD)
        out: Ints = slots[self._sent_ms[slots] <= now_ms - every_ms]
        return out

    def sent(self, slots: Ints, now_ms: int) -> int:
        """Vectors of these slots are on their way; returns the smallest offset they answer for."""
        first = int(self._due[slots].min())
        self._due[slots] = NOTHING_HELD
        self._sent_ms[slots] = now_ms
        return first

    def due_from(self) -> int:
        """The smallest offset whose vector is held back."""
        return int(self._due.min()) if len(self._due) else NOTHING_HELD

    def coldest(self, slots: Ints, count: int) -> Ints:
        """Up to `count` of these slots that owe nothing, those longest untouched first."""
        clean = slots[(self._dirty[slots] == NOTHING_HELD) & (self._due[slots] == NOTHING_HELD)]
        out: Ints = clean[np.argsort(self._touched[clean], kind="stable")[:count]]
        return out


def passable(first: Ints, at: Ints, move_to: int) -> int:
    """The largest offset up to `move_to` that divides no entity's events from the erasure that has voided them.

    Of entity i the records from `first[i]` to the erasure `at[i]` are in no stored state. A new owner that began
    between the two would build a state from the middle of them.
    """
    order = np.argsort(at)[::-1]
    for begin, end in zip(first[order].tolist(), at[order].tolist(), strict=True):
        if end < move_to:
            break
        move_to = min(move_to, begin)
    return move_to
