"""The serving process: one event loop that answers HTTP from the online store."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI

from freshet.runtime import logs, metrics
from freshet.runtime.live.service import configured
from freshet.runtime.settings import ServingSettings
from freshet.runtime.shutdown import Stop
from freshet.runtime.web import uvicorn_config
from freshet.serving.cache import AgingCache, State
from freshet.serving.catalogue import Catalogue
from freshet.serving.current import Current
from freshet.serving.gather import Gatherer
from freshet.serving.http import Front
from freshet.serving.posts import Posts
from freshet.serving.readiness import Readiness
from freshet.serving.reads import Reads
from freshet.serving.recall import Recall
from freshet.serving.routes import make_app
from freshet.spec.load import load_featuresets
from freshet.stores.reader import OnlineReader
from freshet.stores.redis import address
from freshet.stores.snapshots import SnapshotReader

_PROBE_SECONDS = 3.0
"""How long the metrics port waits for the event loop to say whether it is ready."""

_BACKLOG = 4096

_log = logging.getLogger(__name__)


def run(settings: ServingSettings) -> None:
    """Serve until SIGTERM or SIGINT, then answer what is under way and return.

    Raises ManifestError for a manifest with mistakes, OSError for a port that is taken.
    """
    logs.configure("serving", settings.log_format, settings.log_level)
    featuresets = [] if settings.live else load_featuresets(settings.manifests)
    current = Current(Catalogue(featuresets, settings.namespace, may_be_empty=settings.live))
    stop = Stop()  # uvicorn hands a signal on once it has drained: this one takes it, so that run() returns
    with configured(settings, featuresets, current.switch, stop) as known:
        server = Service(current, settings, known)
        listening = _listen(settings.host, settings.port)
        exposition = metrics.serve(settings.metrics_host, settings.metrics_port, server.ready)
        try:
            if not stop.is_set():
                uvicorn.Server(server.config()).run([listening])
        finally:
            exposition.shutdown()


def _listen(host: str, port: int) -> socket.socket:
    """Bound here, as uvicorn would end the process where the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=_BACKLOG)


class Service:
    """The parts of a serving process, put together."""

    def __init__(self, current: Current, settings: ServingSettings, known: Callable[[], bool] | None = None) -> None:
        """`known`: whether the live configuration was read; None: there is none."""
        self._settings = settings
        self._store = OnlineReader(settings.redis)
        self._snapshots = SnapshotReader(settings.postgres) if settings.postgres else None
        self._readiness = Readiness(current, self._store, self._snapshots, known)
        cache: AgingCache[State] = AgingCache(settings.cache_age_ms, settings.cache_entries)
        recall = Recall(self._snapshots) if self._snapshots else None
        reads = Reads(self._store, cache, cluster=address(settings.redis).cluster)
        app = make_app(current, self._readiness.look, self._lifespan)
        self.app = Front(app, current, Gatherer(reads, recall), Posts(current, reads, recall))
        """The ASGI application."""
        self._loop: asyncio.AbstractEventLoop | None = None

    def config(self) -> uvicorn.Config:
        return uvicorn_config(self.app, self._settings.grace_seconds, _BACKLOG)

    def ready(self) -> tuple[bool, dict[str, Any]]:
        """For the metrics port: called from another thread than the event loop's."""
        if self._loop is None or not self._loop.is_running():
            return False, {"server": "not running"}
        asked = asyncio.run_coroutine_threadsafe(self._readiness.look(), self._loop)
        try:
            return asked.result(_PROBE_SECONDS)
        except TimeoutError:
            asked.cancel()
            return False, {"server": "too busy to answer"}

    @asynccontextmanager
    async def _lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        self._loop = asyncio.get_running_loop()
        # What was made at start lives for ever: the collector need not look at it again (p99 by a factor of 2 to 3).
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        _log.info("serving starts", extra={"settings": self._settings.describe()})
        try:
            yield
        finally:
            await self._store.close()
            if self._snapshots is not None:
                await self._snapshots.close()
            _log.info("serving has stopped")
