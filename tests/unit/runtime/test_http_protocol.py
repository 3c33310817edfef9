"""Slow, huge and endless requests are cut off; others are not."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import MutableMapping
from typing import Any

import pytest
import uvicorn

from freshet.runtime import http_protocol


async def app(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


async def _answer(*parts: bytes) -> bytes:
    config = uvicorn.Config(app, http=http_protocol.BoundedProtocol, ws="none", lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = asyncio.create_task(server.serve([listening]))
        reader, writer = await asyncio.open_connection(*listening.getsockname())
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(0.05)
            return await asyncio.wait_for(reader.read(1000), 5)
        finally:
            writer.close()
            server.should_exit = True
            await serving


def test_a_normal_request_passes() -> None:
    assert asyncio.run(_answer(b"GET / HTTP/1.1\r\n", b"host: a\r\n\r\n")).startswith(b"HTTP/1.1 200")


def test_headers_are_bounded_in_size() -> None:
    parts = [b"GET / HTTP/1.1\r\n", *[b"x-%d: " % i + b"y" * 40_000 + b"\r\n" for i in range(3)]]
    assert asyncio.run(_answer(*parts)).startswith(b"HTTP/1.1 431")


def test_headers_are_bounded_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "HEADER_SECONDS", 0.2)
    assert asyncio.run(_answer(b"GET / HTTP/1.1\r\nhost:")).startswith(b"HTTP/1.1 408")
    assert asyncio.run(_answer(b"")).startswith(b"HTTP/1.1 408")


def test_a_body_that_nobody_reads_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "MAX_UNREAD_BYTES", 1000)

    async def closed() -> bool:
        config = uvicorn.Config(app, http=http_protocol.BoundedProtocol, ws="none", lifespan="off", log_config=None)
        server = uvicorn.Server(config)
        with socket.create_server(("127.0.0.1", 0)) as listening:
            serving = asyncio.create_task(server.serve([listening]))
            reader, writer = await asyncio.open_connection(*listening.getsockname())
            writer.write(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n")
            assert (await reader.read(1000)).startswith(b"HTTP/1.1 200")
            writer.write(b"x" * 2000)
            ended = await asyncio.wait_for(reader.read(), 5)
            writer.close()
            server.should_exit = True
            await serving
            return ended in (b"", b"ok")

    assert asyncio.run(closed())
