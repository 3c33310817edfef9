"""One port for the metrics and probes of all services of `freshet dev`, as on a cluster Prometheus would see them."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from freshet.dev.exposition import CONTENT_TYPE, merge
from freshet.dev.ports import HOST
from freshet.dev.service import Service


class Hub:
    """Answers /metrics, /health and /ready for a group of services from a thread of its own."""

    def __init__(self, port: int, services: Sequence[Service]) -> None:
        """`port` 0: a free one. Raises OSError if it is taken."""
        self._services = services
        self._server = ThreadingHTTPServer((HOST, port), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="hub", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://localhost:{self._server.server_address[1]}"

    def metrics(self) -> str:
        """The merged page."""
        return merge({service.name: service.exposition() for service in self._services})

    def health(self) -> tuple[bool, dict[str, object]]:
        """Whether every service runs."""
        running = {service.name: service.alive for service in self._services}
        return all(running.values()), {"status": "ok" if all(running.values()) else "degraded", "running": running}

    def ready(self) -> tuple[bool, dict[str, object]]:
        """Whether every service is ready, with what each says."""
        told = {service.name: service.ready() for service in self._services}
        good = all(ready for ready, _ in told.values())
        return good, {"ready": good, "services": {name: {"ready": ok, **about} for name, (ok, about) in told.items()}}

    def close(self) -> None:
        """Stops listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10  # seconds that a silent client may hold its thread

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/metrics":
                self._answer(200, hub.metrics(), CONTENT_TYPE)
            elif path in ("/health", "/ready"):
                good, document = hub.health() if path == "/health" else hub.ready()
                self._answer(200 if good else 503, json.dumps(document) + "\n", "application/json")
            else:
                self._answer(404, '{"message": "here are /metrics, /health and /ready"}\n', "application/json")

        def _answer(self, status: int, body: str, content_type: str) -> None:
            content = body.encode()
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: object) -> None:
            """Scrapes are not worth a line."""

    return Handler
