"""The ingest process: one event loop that takes events over HTTP and answers when Kafka has them."""

from __future__ import annotations

import gc
import logging
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI

from freshet.ingest.body import Bodies
from freshet.ingest.broker import Broker
from freshet.ingest.deliveries import Deliveries
from freshet.ingest.delivery import Delivery
from freshet.ingest.destinations import Destinations
from freshet.ingest.http import Front
from freshet.ingest.intake import Intake
from freshet.ingest.routes import make_app
from freshet.runtime import logs, metrics
from freshet.runtime.live.service import configured
from freshet.runtime.settings import IngestSettings
from freshet.runtime.shutdown import Deadline, Stop
from freshet.runtime.web import uvicorn_config
from freshet.spec.definition import FeatureSet
from freshet.spec.load import load_featuresets
from freshet.stores import kafka

_BACKLOG = 4096
_MAX_CONNECTIONS = 10_000
_FLUSH_SHARE = 0.4
"""Part of the grace period that is kept for Kafka's acknowledgements after the last request."""

_USUAL_PARTITIONER = "murmur2"
"""Of a service that has no FeatureSet yet: it makes one producer, so that bad settings are told at the start."""

_log = logging.getLogger(__name__)


def run(settings: IngestSettings) -> None:
    """Takes events until SIGTERM or SIGINT, then answers what is under way and returns.

    Raises ManifestError for a manifest with mistakes, ConfigurationError for settings that do not fit together,
    OSError for a port that is taken.
    """
    logs.configure("ingest", settings.log_format, settings.log_level)
    featuresets = [] if settings.live else load_featuresets(settings.manifests)
    service = Service(featuresets, settings)
    stop = Stop()  # uvicorn hands a signal on once it has drained: this one takes it, so that run() returns
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with configured(settings, featuresets, service.switch, stop) as known:
        service.known = known
        with socket.create_server((settings.host, settings.port), family=family, backlog=_BACKLOG) as listening:
            exposition = metrics.serve(settings.metrics_host, settings.metrics_port, service.ready)
            _log.info("ingest starts", extra={"settings": settings.describe()})
            try:
                if not stop.is_set():
                    uvicorn.Server(service.config()).run([listening])
            finally:
                exposition.shutdown()


class Service:
    """The parts of an ingest process, put together. Raises ConfigurationError."""

    def __init__(self, featuresets: list[FeatureSet], settings: IngestSettings) -> None:
        self._settings = settings
        destinations = Destinations([]) if settings.live else Destinations.of(featuresets)
        self._broker = Broker(
            kafka.admin(settings.kafka),
            featuresets,
            settings.dead_letter_topic,
            manage=settings.manage_topics,
            live=settings.live,
        )
        partitioners = {one.partitioner for one in destinations.all} or {_USUAL_PARTITIONER}
        self._deliveries = Deliveries(self._delivery, partitioners)
        self._intake = Intake(destinations, self._deliveries, self._broker, settings.acknowledge_timeout_ms)
        self.known: Callable[[], bool] | None = None
        """Whether the live configuration was read; None: there is none."""
        bodies = Bodies(settings.body_memory_mb << 20, settings.body_timeout_seconds)
        self.app = Front(make_app(self.ready, self._lifespan), self._intake, bodies)
        """The ASGI application."""

    def config(self) -> uvicorn.Config:
        """How uvicorn runs it."""
        grace = self._settings.grace_seconds * (1 - _FLUSH_SHARE)
        return uvicorn_config(self.app, grace, _BACKLOG, _MAX_CONNECTIONS)

    def switch(self, featuresets: Sequence[FeatureSet]) -> Mapping[str, str]:
        """Takes events of these FeatureSets from the next request on; name → why one is left out.

        Callable from any thread.
        """
        destinations, refused = self._intake.destinations.then(featuresets)
        self._broker.update([one for one in featuresets if one.name not in refused])
        self._intake.destinations = destinations
        return refused

    def _delivery(self, partitioner: str) -> Delivery:
        settings = self._settings
        return Delivery(
            settings.kafka,
            partitioner,
            memory_bytes=settings.producer_memory_mb << 20,
            acknowledge_timeout_ms=settings.acknowledge_timeout_ms,
        )

    def ready(self) -> tuple[bool, dict[str, Any]]:
        """Whether events can be taken, and what is missing; callable from any thread."""
        problem = self._broker.problem
        if not self._settings.live:
            return problem is None, {"kafka": problem or "ok"}
        known = self.known is not None and self.known()
        details = {"kafka": problem or "ok", "configuration": "ok" if known else "not read yet"}
        return problem is None and known, {**details, "missing_topics": self._broker.missing()}

    @asynccontextmanager
    async def _lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        self._deliveries.start()
        self._broker.start()
        # What was made at start lives for ever: the collector need not look at it again (p99 by a factor of 2 to 3).
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        try:
            yield
        finally:
            deadline = Deadline(self._settings.grace_seconds * _FLUSH_SHARE)
            left = self._deliveries.close(deadline)
            self._broker.close()
            _log.info("ingest stopped", extra={"unacknowledged": left})
