"""A FeatureSet and its children as they are now, by few requests.

One key that has changed costs a list by label for each kind. Where many wait, one snapshot serves all whose last
change is older than it: events of the watch say what has changed since, and a snapshot is two minutes old at most.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from freshet_operator.api.client import Client
from freshet_operator.api.kinds import CHILDREN, FEATURESET, POD
from freshet_operator.model import Key, Object
from freshet_operator.names import LABEL_FEATURESET
from freshet_operator.observe.snapshot import OURS, Snapshot, take

CROWD = 8
"""Waiting keys from which on a snapshot is cheaper."""
_QUIET_SECONDS = 60.0
_SNAPSHOT_SECONDS = 120.0
"""What the watch has told since is read anew whatever the age; this is for what a watch may have missed."""
_SPACING_SECONDS = 2.0


class ChildReader:
    """Reads for all keys."""

    def __init__(
        self, client: Client, namespaces: tuple[str | None, ...], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._namespaces = namespaces
        self._clock = clock
        self._snapshot: Snapshot | None = None
        self._taking: asyncio.Task[Snapshot] | None = None

    async def read(self, key: Key, dirty_since: float, waiting: int) -> list[Object]:
        """The resource, its children and pods; empty if there is no such resource and nothing is left of it."""
        now = self._clock()
        if self._fits(self._snapshot, dirty_since, now):
            return self._snapshot.of(key.namespace, key.name)  # type: ignore[union-attr]
        quiet = now - dirty_since > _QUIET_SECONDS  # woken by time: nothing says that anything has changed
        spaced = self._snapshot is None or now - self._snapshot.began > _SPACING_SECONDS
        if (waiting >= CROWD or quiet) and (spaced or self._taking is not None):
            snapshot = await self._take()
            if self._fits(snapshot, dirty_since, self._clock()):
                return snapshot.of(key.namespace, key.name)
        return await self._lists(key)

    def _fits(self, snapshot: Snapshot | None, dirty_since: float, now: float) -> bool:
        return snapshot is not None and snapshot.began > dirty_since and now - snapshot.began < _SNAPSHOT_SECONDS

    async def _take(self) -> Snapshot:
        if self._taking is None:
            if self._snapshot is not None and self._clock() - self._snapshot.began >= _SNAPSHOT_SECONDS:
                self._snapshot = None  # nobody can use it, and two at a time would be most of the memory
            self._taking = asyncio.ensure_future(take(self._client, self._namespaces, self._clock()))
            self._taking.add_done_callback(self._taken)
        return await asyncio.shield(self._taking)

    def _taken(self, task: asyncio.Task[Snapshot]) -> None:
        self._taking = None
        if not task.cancelled() and task.exception() is None:
            self._snapshot = task.result()

    async def _lists(self, key: Key) -> list[Object]:
        mine = f"{OURS}={key.name}"
        pods = f"{LABEL_FEATURESET}={key.name}"
        resource, *lists = await asyncio.gather(
            self._resource(key),
            *(self._client.list_all(kind, key.namespace, mine) for kind in CHILDREN),
            self._client.list_all(POD, key.namespace, pods),
        )
        found = list(resource)
        for items in lists:
            found += items
        return found

    async def _resource(self, key: Key) -> list[Object]:
        found = await self._client.get(FEATURESET, key.namespace, key.name)
        return [] if found is None else [found]
