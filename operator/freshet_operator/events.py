"""Kubernetes Events for `kubectl describe`: few, bounded, and repeated ones counted instead of multiplied."""

from __future__ import annotations

import asyncio
import datetime
import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from freshet.runtime.secrets import without_logins
from freshet_operator import metrics
from freshet_operator.api.client import Client
from freshet_operator.api.errors import ApiError
from freshet_operator.api.kinds import EVENT
from freshet_operator.model import Event, Object
from freshet_operator.names import FIELD_MANAGER

_log = logging.getLogger(__name__)

WINDOW_SECONDS = 600.0
"""Events with the same object and reason within it are one, with a count."""
REPEAT_SECONDS = 30.0
"""A repeated event is written again this often at most."""
MOST_WAITING = 1000
_LONGEST_MESSAGE = 1000


@dataclass(slots=True)
class _Known:
    namespace: str
    name: str
    began: float
    written: float
    count: int
    message: str
    waiting: bool = False


class Recorder:
    """Takes events at once and writes them in the background; a failed write loses the event, nothing else."""

    def __init__(self, client: Client, identity: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._identity = identity
        self._clock = clock
        self._known: dict[tuple[str, str, str], _Known] = {}
        self._queue: asyncio.Queue[tuple[tuple[str, str, str], Object]] = asyncio.Queue(MOST_WAITING)

    def record(self, resource: Object, event: Event) -> None:
        """Tells of something that happened to a resource."""
        meta = resource["metadata"]
        key = (str(meta.get("uid")), event.type, event.reason)
        now = self._clock()
        self._forget(now)
        message = without_logins(event.message)[:_LONGEST_MESSAGE]
        known = self._known.get(key)
        if known is not None:
            known.count += 1
            known.message = message
            if not known.waiting and now - known.written >= REPEAT_SECONDS:
                self._put(key, known, {})
            return
        digest = hashlib.sha256("/".join((*key, str(time.time_ns()))).encode()).hexdigest()[:16]
        known = _Known(meta["namespace"], f"{meta['name'][:200]}.{digest}", now, now, 1, message)
        self._known[key] = known
        self._put(key, known, self._new(resource, event, known))

    async def run(self) -> None:
        """Writes what was recorded, until cancelled."""
        while True:
            key, item = await self._queue.get()
            known = self._known.get(key)
            if known is None:
                continue
            known.waiting = False
            known.written = self._clock()
            try:
                if item:
                    await self._client.create(item)
                else:
                    patch = {"count": known.count, "lastTimestamp": _now(), "message": known.message}
                    await self._client.merge(EVENT, known.namespace, known.name, patch)
            except ApiError as error:
                self._known.pop(key, None)
                if error.status != 404 and not error.namespace_terminating:
                    _log.warning("an Event could not be written: %s", error)

    @property
    def waiting(self) -> int:
        """Events not yet written."""
        return self._queue.qsize()

    def _put(self, key: tuple[str, str, str], known: _Known, item: Object) -> None:
        try:
            self._queue.put_nowait((key, item))
            known.waiting = True
        except asyncio.QueueFull:
            metrics.EVENTS_DROPPED.inc()
            if item:
                del self._known[key]

    def _forget(self, now: float) -> None:
        for key, known in list(self._known.items()):
            if now - known.began < WINDOW_SECONDS:
                return  # in order of their beginning
            if not known.waiting:
                del self._known[key]

    def _new(self, resource: Object, event: Event, known: _Known) -> Object:
        meta = resource["metadata"]
        now = _now()
        return {
            "apiVersion": EVENT.api_version,
            "kind": EVENT.kind,
            "metadata": {"namespace": known.namespace, "name": known.name},
            "involvedObject": {
                "apiVersion": resource["apiVersion"],
                "kind": resource["kind"],
                "namespace": meta["namespace"],
                "name": meta["name"],
                "uid": meta.get("uid", ""),
                "resourceVersion": meta.get("resourceVersion", ""),
            },
            "type": event.type,
            "reason": event.reason,
            "message": known.message,
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "source": {"component": FIELD_MANAGER},
            "reportingComponent": FIELD_MANAGER,
            "reportingInstance": self._identity[:128],
        }


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
