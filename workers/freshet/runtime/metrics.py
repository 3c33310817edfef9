"""The metrics of all services in one place, and the small HTTP server that shows them beside the probes.

Names are the user's contract (design §10). Labels are bounded: feature sets, reasons, routes; never an entity.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder

Ready = Callable[[], tuple[bool, dict[str, Any]]]
"""Whether the service can answer, and what is missing or else worth knowing; called from any thread."""

_FAST = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_FRESH = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 600.0)

EVENTS_PROCESSED = Counter("events_processed_total", "Events counted into features.", ["featureset"])
EVENTS_FAILED = Counter("events_failed_total", "Events sent to the dead-letter topic.", ["featureset", "reason"])
EVENTS_DUPLICATE = Counter("events_duplicate_total", "Events left out as duplicates.", ["featureset"])
EVENTS_LATE = Counter("events_late_total", "Events older than the entity's newest, counted anyway.", ["featureset"])
EVENTS_CLAMPED = Counter("events_clamped_total", "Events stamped after the broker's clock.", ["featureset"])
EVENTS_TOO_LATE = Counter("events_too_late_total", "Events older than every window.", ["featureset"])
EVENTS_OUTSIDE_SESSIONS = Counter(
    "events_outside_sessions_total", "Times that an event came too late for a session feature.", ["featureset"]
)
FEATURE_VECTORS = Counter("feature_vectors_total", "Feature vectors sent to the output topic.", ["featureset"])
FEATURE_COMPUTATION_SECONDS = Histogram(
    "feature_computation_seconds", "Computing one batch of events, or one read.", ["featureset"], buckets=_FAST
)
FLUSH_SECONDS = Histogram("flush_seconds", "Writing one batch of states to the store.", ["featureset"], buckets=_FAST)
FRESHNESS_SECONDS = Histogram(
    "freshness_seconds", "From the broker's clock of an event until it is readable.", ["featureset"], buckets=_FRESH
)
STORE_REFUSALS = Counter("store_refusals_total", "Writes or loads that the fence refused.", ["featureset", "reason"])
PARTITION_LAG = Gauge("partition_lag", "Events of a partition not yet in its states.", ["featureset", "partition"])
CACHE_HITS = Counter("cache_hits_total", "Entities found in memory.", ["featureset"])
CACHE_MISSES = Counter("cache_misses_total", "Entities that the store was asked for.", ["featureset"])
EXPRESSION_NULLS = Counter(
    "expression_nulls_total", "Values that SQL would raise on or that are not finite, given as null.", ["featureset"]
)
HTTP_REQUEST_SECONDS = Histogram(
    "http_request_seconds", "Answering one request, by route pattern.", ["route", "status"], buckets=_FAST
)
EVENTS_ACCEPTED = Counter("events_accepted_total", "Events that the broker has acknowledged to ingest.", ["topic"])
EVENTS_REFUSED = Counter("events_refused_total", "Events that ingest has refused.", ["reason"])
PRODUCER_QUEUE = Gauge("producer_queue_messages", "Events of ingest that wait for the broker.")


def exposition(accept: str = "") -> tuple[bytes, str]:
    """All metrics of this process and their Content-Type, in the format that the Accept header asks for."""
    encode, content_type = choose_encoder(accept)
    return encode(REGISTRY), content_type


class MetricsServer:
    """Answers /metrics, /health and /ready from a thread of its own, so that a busy service still does."""

    def __init__(self, host: str, port: int, ready: Ready) -> None:
        self._server = ThreadingHTTPServer((host, port), _handler(ready))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="metrics", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def shutdown(self) -> None:
        """Stops listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def serve(host: str, port: int, ready: Ready) -> MetricsServer:
    """Starts the server. Raises OSError if the port is taken."""
    return MetricsServer(host, port, ready)


def _handler(ready: Ready) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10  # seconds that a silent client may hold its thread

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/metrics":
                body, content_type = exposition(self.headers.get("Accept", ""))
                self._answer(200, body, content_type)
            elif path == "/health":
                self._answer(200, b'{"status": "ok"}')
            elif path == "/ready":
                good, details = ready()
                self._answer(200 if good else 503, json.dumps({"ready": good, **details}, default=str).encode())
            else:
                self._answer(404, b'{"message": "here are /metrics, /health and /ready"}')

        def _answer(self, status: int, body: bytes, content_type: str = "application/json") -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:
            """Probes and scrapes are not worth a line."""

    return Handler
