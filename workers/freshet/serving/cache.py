"""What was read a moment ago (design §9: `cacheAge`).

Of the online store only the state is kept, never a value: windows go on sliding at read time, also in a cached
state. What is served is at most `max_age_ms` behind the store.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Generic, TypeVar

from freshet.serving.catalogue import Served

State = bytes | None
"""A stored state; None: an entity without events in a complete partition."""

Kept = TypeVar("Kept")


class AgingCache(Generic[Kept]):
    """Bounded in age and in entries; the oldest entry goes first."""

    def __init__(self, max_age_ms: float, max_entries: int, clock: Callable[[], float] = time.monotonic) -> None:
        """`max_age_ms` 0 turns the cache off. `clock` counts seconds."""
        self._max_age = max_age_ms / 1000
        self._max_entries = max_entries if max_age_ms > 0 else 0
        self._clock = clock
        self._entries: dict[tuple[Served, str], tuple[float, Kept]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def now(self) -> float:
        """A time for `get` and `put`, in seconds: read once for many of them."""
        return self._clock()

    def get(self, place: tuple[Served, str], now: float) -> tuple[Kept] | None:
        """What was kept, in a tuple of one, or None if it is not known or too old."""
        entry = self._entries.get(place)
        if entry is None or now - entry[0] > self._max_age:
            return None
        return (entry[1],)

    def put(self, place: tuple[Served, str], found: Kept, asked: float) -> None:
        """Keep what was found; `asked` is when the store was asked, so that the age counts from there."""
        if not self._max_entries:
            return
        self._entries.pop(place, None)
        self._entries[place] = (asked, found)
        self._drop_old(asked)

    def _drop_old(self, now: float) -> None:
        """The entries stand in the order of their age, so looking at the first ones is enough."""
        while self._entries:
            oldest = next(iter(self._entries))
            if len(self._entries) <= self._max_entries and now - self._entries[oldest][0] <= self._max_age:
                return
            del self._entries[oldest]
