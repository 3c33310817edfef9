"""ASGI in front of the FastAPI app: POST /ingest is answered here, everything is timed, every answer is JSON."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qsl

from prometheus_client import Histogram

from freshet.ingest.body import Bodies
from freshet.ingest.intake import Intake
from freshet.ingest.problems import Problem, unavailable
from freshet.ingest.split import check_content_type
from freshet.runtime import metrics
from freshet.runtime.web import Disconnected, Receive, Scope, Send, answered_by

App = Callable[[Scope, Receive, Send], Awaitable[None]]

ROUTE = "/ingest"

_log = logging.getLogger(__name__)


class Front:
    """The ASGI application of ingest."""

    def __init__(self, app: App, intake: Intake, bodies: Bodies) -> None:
        """`app` answers all other routes."""
        self._app = app
        self._intake = intake
        self._bodies = bodies
        self._timers: dict[tuple[str, int], Histogram] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        if scope["path"] == ROUTE:
            route, status = ROUTE, await self._ingest(scope, receive, send)
        else:
            route, status = await answered_by(self._app, scope, receive, send)
        timer = self._timers.get((route, status))
        if timer is None:
            timer = self._timers[route, status] = metrics.HTTP_REQUEST_SECONDS.labels(route, str(status))
        timer.observe(time.perf_counter() - started)

    async def _ingest(self, scope: Scope, receive: Receive, send: Send) -> int:
        headers: list[tuple[bytes, bytes]] = []
        try:
            status, body = await self._post(scope, receive)
        except Problem as problem:
            status, body, headers = problem.status, problem.body(), problem.headers
            if status == 408:
                headers = [*headers, (b"connection", b"close")]
        except Disconnected:
            return 499
        except Exception:
            _log.exception("a request failed")
            own = unavailable("unexpected", "the request met an unexpected condition, which is logged: try again")
            status, body, headers = own.status, own.body(), own.headers
        await respond(send, status, body, headers)
        return status

    async def _post(self, scope: Scope, receive: Receive) -> tuple[int, bytes]:
        if scope["method"] != "POST":
            problem = Problem(405, "method_not_allowed", f"{scope['method']} is not allowed here; POST is")
            problem.headers = [(b"allow", b"POST")]
            raise problem
        headers = dict(scope["headers"])
        lines = check_content_type(headers.get(b"content-type", b"").decode("latin-1"))
        if headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise Problem(415, "unsupported_encoding", "a Content-Encoding is not supported; send the body as it is")
        query = scope["query_string"]
        destination = self._intake.choose(dict(parse_qsl(query.decode("latin-1"), True)) if query else {})
        claim = self._bodies.claim(headers)
        try:
            return await self._intake.take(destination, await self._bodies.read(receive, claim), lines)
        finally:
            claim.release()


async def respond(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    """One whole JSON answer."""
    lines = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *headers]
    await send({"type": "http.response.start", "status": status, "headers": lines})
    await send({"type": "http.response.body", "body": body})
