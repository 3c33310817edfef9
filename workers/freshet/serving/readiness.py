"""Whether serving can answer: the store answers and some partition is complete, or else the history does; names what
is missing.

With a live configuration no partition need be complete: a FeatureSet that is applied while the service runs must not
take it out of its load balancer, which would hide the answers that say what is missing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from freshet.serving.current import Current
from freshet.stores.postgres import HistoryDown
from freshet.stores.reader import OnlineReader
from freshet.stores.redis import StoreDown
from freshet.stores.snapshots import SnapshotReader

_FRESH_SECONDS = 0.5
"""Probes of several callers share one look at the store."""


class Readiness:
    """Looks at the progress of every partition, at most every half second."""

    def __init__(
        self,
        current: Current,
        store: OnlineReader,
        snapshots: SnapshotReader | None = None,
        known: Callable[[], bool] | None = None,
    ) -> None:
        """`snapshots`: None if there is no history.

        `known`: whether a live configuration was read; None: there is none, the manifests are files.
        """
        self._current = current
        self._store = store
        self._snapshots = snapshots
        self._known = known
        self._looked = -_FRESH_SECONDS
        self._found: tuple[bool, dict[str, Any]] = (False, {})
        self._lock = asyncio.Lock()

    async def look(self) -> tuple[bool, dict[str, Any]]:
        """(ready, details). Ready while requests can be answered at any level (design §9)."""
        async with self._lock:
            if time.monotonic() - self._looked > _FRESH_SECONDS:
                self._found = await self._look()
                self._looked = time.monotonic()
            return self._found

    async def _look(self) -> tuple[bool, dict[str, Any]]:
        if self._known is not None and not self._known():
            return False, {"configuration": "not read yet"}
        places = [
            (served.name, partition, tag)
            for served in self._current.snapshot.catalogue.served.values()
            for partition, tag in enumerate(served.tags)
        ]
        history = await self._history()
        recorded = history == {"history": "ok"}
        try:
            # The state asked for is nobody's: progress comes with every fetch.
            fetched = await self._store.fetch([(tag, "") for _, _, tag in places])
        except StoreDown:
            return recorded, {"store": "down", **history}
        missing: dict[str, list[int]] = {}
        for (name, partition, _), found in zip(places, fetched, strict=True):
            if not found.complete:
                missing.setdefault(name, []).append(partition)
        ready = self._known is not None or recorded or sum(map(len, missing.values())) < len(places)
        return ready, {"store": "ok", **history, "incomplete_partitions": missing}

    async def _history(self) -> dict[str, str]:
        if self._snapshots is None:
            return {}
        try:
            await self._snapshots.ping()
        except HistoryDown:
            return {"history": "down"}
        return {"history": "ok"}
