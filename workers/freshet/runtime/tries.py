"""What failed and is tried again: at first soon, then after growing waits."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

FIRST_WAIT_MS = 100
LONGEST_WAIT_MS = 5_000

Key = TypeVar("Key", bound=Hashable)


@dataclass(slots=True)
class Waiting:
    """Something that nobody works on at the moment."""

    reason: str
    """Name of the exception; empty: nothing has failed, its turn has not come yet."""
    sentence: str
    at_ms: int
    """When to try again."""
    wait_ms: int = FIRST_WAIT_MS


class Tries(Generic[Key]):
    """Partitions that wait for another try."""

    def __init__(self) -> None:
        self.waiting: dict[Key, Waiting] = {}
        self._waited_ms: dict[Key, int] = {}

    def failed(self, key: Key, error: Exception, now_ms: int) -> Waiting:
        """It waits, twice as long as the last time if nothing has come of it since."""
        before = self._waited_ms.get(key)
        wait = self._waited_ms[key] = min(2 * before, LONGEST_WAIT_MS) if before else FIRST_WAIT_MS
        found = self.waiting[key] = Waiting(type(error).__name__, str(error), now_ms + wait, wait)
        return found

    def due(self, now_ms: int) -> list[Key]:
        """Those to try now. A clock that was set back makes nobody wait longer than was meant."""
        return [key for key, one in self.waiting.items() if not now_ms < one.at_ms <= now_ms + one.wait_ms]

    def begun(self, key: Key) -> None:
        """It is being tried, and may yet fail."""
        self.waiting.pop(key, None)

    def over(self, key: Key) -> None:
        """It works, or is nobody's business any more: the next failure is the first one."""
        self.waiting.pop(key, None)
        self._waited_ms.pop(key, None)
