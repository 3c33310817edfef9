"""Small HTTP servers in a thread of their own: metrics, probes, administration. A busy service still answers them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Answer(NamedTuple):
    """What a GET is answered with."""

    status: int
    body: bytes
    content_type: str = "application/json"


Respond = Callable[[str, str], Answer]
"""(path without its query, Accept header) → answer; called from any thread."""


class SideServer:
    """Answers GET requests."""

    def __init__(self, host: str, port: int, name: str, respond: Respond) -> None:
        """Port 0: any free one. Raises OSError if the port is taken."""
        self._server = ThreadingHTTPServer((host, port), _handler(respond))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name=name, daemon=True)
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


def _handler(respond: Respond) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10  # seconds that a silent client may hold its thread

        def do_GET(self) -> None:
            answer = respond(self.path.partition("?")[0], self.headers.get("Accept", ""))
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, format: str, *arguments: Any) -> None:
            """Probes and scrapes are not worth a line."""

    return Handler
