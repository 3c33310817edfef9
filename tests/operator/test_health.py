"""/livez, /readyz and /metrics."""

from __future__ import annotations

import asyncio
import time

import aiohttp
import pytest

from freshet.dev.ports import free_ports
from freshet_operator.health import Health, answered, no_longer_than


async def ask(port: int, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as response:
        return response.status, await response.text()


def test_problems_are_named_and_the_rest_is_well() -> None:
    async def run() -> None:
        health = Health()
        (port,) = free_ports(1)
        hung = 0.0
        health.live["reconcile"] = no_longer_than(180, lambda: hung, "a reconcile has been running")
        health.ready["api"] = answered(lambda: None)
        runner = await health.serve(port, "127.0.0.1")
        assert (await ask(port, "/livez"))[0] == 200
        status, text = await ask(port, "/readyz")
        assert (status, "has not answered yet" in text) == (503, True)
        hung = 181
        status, text = await ask(port, "/livez")
        assert (status, "a reconcile has been running for 181 s" in text) == (503, True)
        status, text = await ask(port, "/metrics")
        assert (status, "workqueue_depth" in text) == (200, True)
        with pytest.raises(OSError, match="in use"):
            await health.serve(port, "127.0.0.1")
        await runner.cleanup()

    asyncio.run(run())


def test_a_silent_api_server_makes_a_replica_unready() -> None:
    assert answered(lambda: time.monotonic() - 61)() is not None
    assert answered(lambda: time.monotonic() - 1)() is None
