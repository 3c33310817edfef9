"""What was read a moment ago (design §9: `cacheAge`).

Of the online store only the state is kept, never a value: windows go on sliding at read time, also in a cached
state. What is served is at most `max_age_ms` behind the store.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
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
        """A time for `get_all` and `put_all`, in seconds: read once for many of them."""
        return self._clock()

    def get_all(self, served: Served, keys: Iterable[str], now: float) -> tuple[dict[str, Kept], list[str]]:
        """What was kept of these keys, and which are not known or too old."""
        found: dict[str, Kept] = {}
        missing = []
        get, after = self._entries.get, now - self._max_age
        for key in keys:
            entry = get((served, key))
            if entry is None or entry[0] < after:
                missing.append(key)
            else:
                found[key] = entry[1]
        return found, missing

    def put_all(self, found: Iterable[tuple[tuple[Served, str], Kept]], asked: float) -> None:
        """Keep what was found; `asked` is when the store was asked, so that the age counts from there."""
        if not self._max_entries:
            return
        entries = self._entries
        for place, kept in found:
            if place in entries:
                del entries[place]
            entries[place] = (asked, kept)
        self._drop_old(asked)

    def _drop_old(self, now: float) -> None:
        """The entries stand in the order of their age, so looking at the first ones is enough."""
        too_many = len(self._entries) - self._max_entries
        old: list[tuple[Served, str]] = []
        for place, (asked, _) in self._entries.items():
            if len(old) >= too_many and now - asked <= self._max_age:
                break
            old.append(place)
        for place in old:
            del self._entries[place]
