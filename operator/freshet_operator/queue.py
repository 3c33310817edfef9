"""The work queue: a key is in it once, at one worker at a time, later if asked so, and with backoff after errors."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
import time
from collections.abc import Callable

from freshet_operator import metrics
from freshet_operator.model import Key

FIRST_BACKOFF_SECONDS = 0.5
LONGEST_BACKOFF_SECONDS = 300.0
_NAME = "freshet"


class WorkQueue:
    """Keys to be reconciled. All methods belong to one event loop; the clock is monotonic seconds."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, jitter: Callable[[], float] = random.random
    ) -> None:
        """`jitter` gives numbers from 0 to 1: a backoff is between 75 % and 125 % of its nominal time."""
        self._clock = clock
        self._jitter = jitter
        self._ready: dict[Key, float] = {}  # in order; value: since when
        self._delayed: list[tuple[float, int, Key]] = []
        self._due: dict[Key, float] = {}
        self._working: dict[Key, float] = {}
        self._again: dict[Key, float] = {}
        self._failures: dict[Key, int] = {}
        self._dirty: dict[Key, float] = {}
        self._order = itertools.count()
        self._wakened = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def depth(self) -> int:
        """Keys that wait for a worker now."""
        return len(self._ready)

    @property
    def oldest_work_seconds(self) -> float:
        """Age of the oldest reconcile in progress; 0 if there is none."""
        return self._clock() - min(self._working.values()) if self._working else 0.0

    @property
    def working(self) -> int:
        """Reconciles in progress."""
        return len(self._working)

    def dirty_since(self, key: Key) -> float:
        """When something last changed that concerns the key: what was read before that is stale."""
        return self._dirty.get(key, 0.0)

    def touch(self, key: Key) -> None:
        """Something that concerns the key has changed, by our own hand: no reason to look again."""
        self._dirty[key] = self._clock()

    def add(self, key: Key, delay: float = 0.0, dirty: bool = True) -> None:
        """Something has changed (`dirty`), or it is time to look again. The earliest of several times counts.

        A key that waits after an error goes on waiting: what it changed itself must not make it spin.
        """
        metrics.QUEUE_ADDS.labels(_NAME).inc()
        if dirty:
            self._dirty[key] = self._clock()
        if self._failures.get(key) and (key in self._due or key in self._working):
            return
        self._put(key, self._clock() + delay)

    def reset(self, key: Key) -> None:
        """The user has changed what the key stands for: at once, whatever failed before."""
        self._failures.pop(key, None)
        self.add(key)

    def retry(self, key: Key, least: float = 0.0) -> float:
        """Puts a key back that has failed; returns the seconds until its next turn."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        nominal = min(LONGEST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2.0 ** min(failures, 20))
        delay = max(least, nominal * (0.75 + self._jitter() / 2))
        metrics.QUEUE_RETRIES.labels(_NAME).inc()
        self._put(key, self._clock() + delay)
        return delay

    def succeeded(self, key: Key) -> None:
        """The next error starts with the shortest backoff."""
        self._failures.pop(key, None)

    def forget(self, key: Key) -> None:
        """The key stands for nothing any more."""
        self._failures.pop(key, None)
        self._dirty.pop(key, None)
        self._ready.pop(key, None)
        self._due.pop(key, None)
        self._show()

    async def get(self) -> Key | None:
        """The next key; it has to be given back with `done`. None: closed."""
        while not self._closed:
            if self._ready:
                key, since = next(iter(self._ready.items()))
                del self._ready[key]
                self._due.pop(key, None)
                now = self._clock()
                self._working[key] = now
                metrics.QUEUE_SECONDS.labels(_NAME).observe(max(0.0, now - since))
                self._show()
                return key
            self._wakened.clear()
            await self._wakened.wait()
        return None

    def done(self, key: Key) -> None:
        """The worker is finished with the key, well or not."""
        self._working.pop(key, None)
        due = self._again.pop(key, None)
        if due is not None:
            self._put(key, due)

    def close(self) -> None:
        """No key is handed out any more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._wakened.set()

    def _put(self, key: Key, due: float) -> None:
        if key in self._working:
            self._again[key] = min(due, self._again.get(key, due))
            return
        known = self._due.get(key)
        if known is not None and known <= due:
            return
        self._due[key] = due
        if due <= self._clock():
            self._make_ready(key, due)
        else:
            heapq.heappush(self._delayed, (due, next(self._order), key))
            self._set_timer()

    def _make_ready(self, key: Key, since: float) -> None:
        self._ready.setdefault(key, since)
        self._show()
        self._wakened.set()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._delayed and not self._closed:
            delay = max(0.0, self._delayed[0][0] - self._clock())
            self._timer = asyncio.get_running_loop().call_later(delay, self._on_time)

    def _on_time(self) -> None:
        now = self._clock()
        while self._delayed and self._delayed[0][0] <= now + 0.001:
            due, _, key = heapq.heappop(self._delayed)
            if self._due.get(key) == due:  # else it came earlier, or was forgotten
                self._make_ready(key, due)
        self._set_timer()

    def _show(self) -> None:
        metrics.QUEUE_DEPTH.labels(_NAME).set(len(self._ready))
