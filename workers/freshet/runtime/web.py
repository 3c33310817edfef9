"""How uvicorn runs the HTTP services: bounded headers, no logs of requests, no headers that nobody needs."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import uvicorn

from freshet.runtime.http_protocol import BoundedProtocol

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_log = logging.getLogger(__name__)


class Disconnected(Exception):
    """The client has gone; there is nobody to answer."""


KEEP_ALIVE_SECONDS = 75
"""Longer than the idle time-outs of load balancers: the one that closes first must not be the server."""


def uvicorn_config(app: Any, grace_seconds: float, backlog: int, most_connections: int | None = None) -> uvicorn.Config:
    """`grace_seconds`: what requests in progress have left after SIGTERM. Beyond `most_connections`: 503."""
    return uvicorn.Config(
        app,
        loop="uvloop",
        http=BoundedProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        limit_concurrency=most_connections,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=max(1, int(grace_seconds)),
        backlog=backlog,
    )


async def body_part(receive: Receive) -> tuple[bytes, bool]:
    """The next part of a request's body, and whether more follows. Raises Disconnected."""
    message = await receive()
    if message["type"] == "http.disconnect":
        raise Disconnected
    return message.get("body", b""), message.get("more_body", False)


async def answered_by(app: Any, scope: Scope, receive: Receive, send: Send) -> tuple[str, int]:
    """Lets an ASGI app answer a request; returns its route's pattern and the status, for metrics."""
    status = 0

    async def watched(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        await send(message)

    try:
        await app(scope, receive, watched)
    except Exception:
        _log.exception("a request failed")  # the app has answered it before it raised
    return getattr(scope.get("route"), "path", "other"), status
