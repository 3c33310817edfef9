"""How uvicorn runs the HTTP services: bounded headers, no logs of requests, no headers that nobody needs."""

from __future__ import annotations

from typing import Any

import uvicorn

from freshet.runtime.http_protocol import BoundedProtocol

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
