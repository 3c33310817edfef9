"""Asking pods, and what is remembered of their answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from freshet_operator.model import Key, Object, Work
from freshet_operator.observe import pods as asking
from freshet_operator.observe.pods import PodClient
from freshet_operator.observe.work import WorkReader
from tests.operator.test_lease import Clock

KEY = Key("FeatureSet", "shop", "clicks")


@dataclass
class Server:
    """One pod on this machine."""

    port: int
    body: bytes = b""
    status: int = 200
    asked: int = 0
    chunks: int = 1
    pods: list[Object] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        response = web.StreamResponse(status=self.status)
        await response.prepare(request)
        size = max(1, len(self.body) // self.chunks)
        for begin in range(0, len(self.body), size):
            await response.write(self.body[begin : begin + size])
            await asyncio.sleep(0.01)
        return response


def with_server(test: Callable[[Server, PodClient], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        runner = web.AppRunner(app := web.Application())
        server = Server(0)
        app.router.add_get("/{path}", server.answer)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.port = int(runner.addresses[0][1])
        client = PodClient()
        try:
            await test(server, client)
        finally:
            await client.close()
            await runner.cleanup()

    asyncio.run(run())


def pod(name: str = "p", **status: Any) -> Object:
    return {"metadata": {"name": name}, "status": {"phase": "Running", "podIP": "127.0.0.1", **status}}


def test_an_answer_in_pieces_is_read_to_its_end() -> None:
    async def check(server: Server, client: PodClient) -> None:
        server.body, server.chunks = b"0123456789" * 100, 5
        assert await client.get("127.0.0.1", server.port, "/x") == server.body

    with_server(check)


def test_too_large_refused_or_nobody_there_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def check(server: Server, client: PodClient) -> None:
        monkeypatch.setattr(asking, "MOST_BYTES", 999)
        server.body, server.chunks = b"0123456789" * 100, 5
        assert await client.get("127.0.0.1", server.port, "/x") is None
        server.body, server.status = b"good", 503
        assert await client.get("127.0.0.1", server.port, "/x") is None
        assert await client.get("127.0.0.1", server.port, "/x", accepted=(200, 503)) == b"good"
        assert await client.get("127.0.0.1", 1, "/x") is None

    with_server(check)


def ready(**changes: Any) -> bytes:
    return json.dumps({"partitions": [0, 1], "rebuilding": [], "stopped": {}, "problem": None, **changes}).encode()


def test_the_calm_are_asked_seldom_and_others_every_second() -> None:
    async def check(server: Server, client: PodClient) -> None:
        clock = Clock()
        reader = WorkReader(client, server.port, clock)
        server.body, server.status = ready(rebuilding=[1]), 503
        expected = Work(frozenset({0, 1}), frozenset({1}))
        for seconds, asked in ((0.0, 1), (0.9, 1), (0.2, 2)):
            clock.now += seconds
            assert await reader.work(KEY, [pod(), pod("pending", phase="Pending")]) == {"p": expected}
            assert server.asked == asked
        server.body = ready()
        for seconds, asked in ((1.0, 3), (9.0, 3), (1.1, 4)):
            clock.now += seconds
            assert (await reader.work(KEY, [pod()]))["p"].is_calm
            assert server.asked == asked
        assert set(await reader.work(KEY, [pod("other")])) == {"other"}  # others: at once
        server.body = b"no processor"
        clock.now += 11
        assert await reader.work(KEY, [pod("other")]) == {}

    with_server(check)
