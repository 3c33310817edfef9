"""How long acknowledged events take until their partition's states hold them, seen from outside, without a gap."""

from __future__ import annotations

import threading
import time
from typing import Any

import redis

from freshet.spec import naming
from freshet.stores.fence import Progress
from tests.integration.system import PARTITIONS, System

_LOOK_SECONDS = 0.02


class Freshness(threading.Thread):
    """Compares the log's ends, as the producer is told them, with `progress` in the store, fifty times a second.

    `progress` moves after the states are written and their vectors are sent, so this is the longest that anybody
    could have had to wait.
    """

    def __init__(self, system: System) -> None:
        super().__init__(daemon=True)
        self._keys = [naming.progress_key(system.tag(p)) for p in range(PARTITIONS)]
        self._store = redis.Redis.from_url(system.valkey.url)
        self._acknowledged: list[list[tuple[int, float]]] = [[] for _ in range(PARTITIONS)]
        self._halt = threading.Event()
        self.waits: list[float] = []
        """Seconds from acknowledged to held, of every event that is held."""
        system.acknowledged = self.acknowledged

    def acknowledged(self, error: Any, message: Any) -> None:
        """A delivery report of the producer."""
        if error is None:
            self._acknowledged[message.partition()].append((message.offset(), time.monotonic()))

    def run(self) -> None:
        while not self._halt.wait(_LOOK_SECONDS):
            self._look()

    def stop(self) -> None:
        """No more looks; the last one is after everything that was there."""
        self._halt.set()
        self.join()
        self._look()
        self._store.close()

    def _look(self) -> None:
        found: Any = self._store.mget(self._keys)
        now = time.monotonic()
        for waiting, data in zip(self._acknowledged, found, strict=True):
            upto = Progress.parse(data).offset if data else 0
            held = 0
            while held < len(waiting) and waiting[held][0] < upto:
                self.waits.append(now - waiting[held][1])
                held += 1
            del waiting[:held]
