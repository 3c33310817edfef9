"""ASGI in front of the FastAPI app: the hot routes are answered here, everything is timed, every answer is JSON.

FastAPI costs several times as much as the whole of a feature read, so what reads features never reaches it; routes
that are called seldom do.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable

from freshet.runtime.web import Receive, Scope, Send, answered_by
from freshet.serving import keys, measure
from freshet.serving.current import Current
from freshet.serving.gather import Gatherer
from freshet.serving.posts import Posts, Reply
from freshet.serving.problems import Problem, unexpected
from freshet.serving.selection import Selection

App = Callable[[Scope, Receive, Send], Awaitable[None]]

ENTITY_ROUTE = "/features/{entity}"
FEATURE_ROUTE = "/features/{entity}/{feature}"
_PREFIX = b"/features/"
_CONTENT_TYPE = (b"content-type", b"application/json")

_log = logging.getLogger(__name__)


class Front:
    """The ASGI application of serving."""

    def __init__(self, app: App, current: Current, gatherer: Gatherer, posts: Posts) -> None:
        """`app` answers all other routes."""
        self._app = app
        self._current = current
        self._gatherer = gatherer
        self._posts = posts.routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        if scope["raw_path"].startswith(_PREFIX):
            entity, _, feature = scope["raw_path"][len(_PREFIX) :].partition(b"/")
            route = FEATURE_ROUTE if feature else ENTITY_ROUTE
            status = await _answered(send, self._features(scope, entity, feature))
        elif scope["path"] in self._posts:
            route = scope["path"]
            status = await _answered(send, self._post(scope, receive))
        else:
            route, status = await answered_by(self._app, scope, receive, send)
        measure.request(route, status, time.perf_counter() - started)

    async def _features(self, scope: Scope, entity: bytes, feature: bytes) -> Reply:
        if scope["method"] not in ("GET", "HEAD"):
            raise _not_allowed(scope["method"], "GET", "GET, HEAD")
        selection, key = self._question(entity, feature, scope["query_string"])
        return Reply(await self._gatherer.answer(selection, key, bool(feature)))

    async def _post(self, scope: Scope, receive: Receive) -> Reply:
        if scope["method"] != "POST":
            raise _not_allowed(scope["method"], "POST", "POST")
        return await self._posts[scope["path"]](receive)

    def _question(self, entity: bytes, feature: bytes, query: bytes) -> tuple[Selection, str]:
        if b"/" in feature:
            raise Problem(404, "not_found", "no such route; a slash inside a key is written %2F")
        key = keys.checked(keys.from_path(entity))
        return self._current.snapshot.selector.from_query(query, keys.from_path(feature) if feature else None), key


def _not_allowed(method: str, instead: str, allow: str) -> Problem:
    return Problem(405, "method_not_allowed", f"{method} is not allowed here; {instead} is", allow=allow)


async def _answered(send: Send, asked: Awaitable[Reply]) -> int:
    """Sends the answer, or why there is none; returns its status."""
    try:
        reply = await asked
    except Exception as error:
        if not isinstance(error, Problem):
            _log.exception("a request failed")
        problem = error if isinstance(error, Problem) else unexpected()
        reply = Reply(problem.body(), problem.status, problem.headers())
    await respond(send, reply.status, reply.body, reply.headers)
    return reply.status


async def respond(send: Send, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
    """One whole JSON answer."""
    lines = [_CONTENT_TYPE, (b"content-length", b"%d" % len(body))]
    if headers:
        lines += [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": lines})
    await send({"type": "http.response.body", "body": body})
