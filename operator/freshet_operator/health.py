"""/livez, /readyz and /metrics.

Alive: the loop answers at all, no reconcile hangs, and the watch owes no change that a list has shown. An API server
or Kafka that is away is no reason to restart. Ready: the API server answers this replica, as leader or standby: both
can do their part, and a rollout goes on when the new replica stands by.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from aiohttp import web

from freshet_operator import metrics

Check = Callable[[], str | None]
"""What is wrong, or None."""

STUCK_SECONDS = 180.0
"""A reconcile older than this hangs: its own time-out is shorter."""
SILENT_SECONDS = 60.0
"""Without any answer of the API server for this long a replica is not ready."""


class Health:
    """Collects checks; answers for all of them."""

    def __init__(self) -> None:
        self.live: dict[str, Check] = {}
        self.ready: dict[str, Check] = {}

    async def serve(self, port: int, host: str = "0.0.0.0") -> web.AppRunner:  # noqa: S104  # it is probed from outside
        """Starts the server. Raises OSError if the port is taken."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/livez", self._live),
                web.get("/readyz", self._ready),
                web.get("/metrics", _metrics),
            ]
        )
        runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await runner.setup()
        await web.TCPSite(runner, host, port).start()
        return runner

    async def _live(self, _: web.Request) -> web.Response:
        return self._answer(self.live)

    async def _ready(self, _: web.Request) -> web.Response:
        return self._answer(self.ready)

    def _answer(self, checks: dict[str, Check]) -> web.Response:
        wrong: dict[str, Any] = {name: said for name, check in checks.items() if (said := check()) is not None}
        return web.json_response({"ok": not wrong, "problems": wrong}, status=503 if wrong else 200)


async def _metrics(_: web.Request) -> web.Response:
    return web.Response(body=metrics.exposition(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


def answered(last: Callable[[], float | None]) -> Check:
    """Whether the API server has answered lately; `last` gives the monotonic time."""

    def check() -> str | None:
        at = last()
        if at is None:
            return "the API server has not answered yet"
        age = time.monotonic() - at
        return f"the API server has not answered for {age:.0f} s" if age > SILENT_SECONDS else None

    return check


def no_longer_than(limit: float, age: Callable[[], float], what: str) -> Check:
    """Whether an age is within its limit."""

    def check() -> str | None:
        seconds = age()
        return f"{what} for {seconds:.0f} s, more than {limit:.0f} s" if seconds > limit else None

    return check
