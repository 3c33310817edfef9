"""HTTP load from one process: keep-alive connections that each ask again as soon as they are answered.

A client library would cost more than the server it measures, so this speaks just enough HTTP/1.1: fixed requests
out, status and Content-Length in. Run it alone as `python -m benchmarks.http_load URL`.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import cast
from urllib.parse import urlsplit

import numpy as np
import uvloop


@dataclass(frozen=True, slots=True)
class Load:
    """What a run saw."""

    requests_per_second: float
    p50_ms: float
    p99_ms: float
    requests: int
    statuses: dict[int, int]
    """How often each status came."""
    broken: int
    """Connections that ended before their answer was whole."""


def get(path: str, host: str = "127.0.0.1") -> bytes:
    """The bytes of a GET request; the path is sent as it is."""
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


def post(path: str, body: bytes, host: str = "127.0.0.1") -> bytes:
    """The bytes of a POST request with a JSON body."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def load(
    host: str, port: int, requests: Sequence[bytes], connections: int, seconds: float, warmup: float = 0.5
) -> Load:
    """Send the requests in turn, over and over, for `seconds` after a warm-up that is not counted.

    Raises OSError if the server does not take the connections.
    """
    return uvloop.run(_load(host, port, requests, connections, seconds, warmup))


async def _load(
    host: str, port: int, requests: Sequence[bytes], connections: int, seconds: float, warmup: float
) -> Load:
    loop = asyncio.get_running_loop()
    run = _Run(itertools.cycle(requests))
    clients = []
    for _ in range(connections):
        _, client = await loop.create_connection(lambda: _Client(run), host, port)
        clients.append(client)
    await asyncio.sleep(warmup)
    run.reset()
    started = time.perf_counter()
    await asyncio.sleep(seconds)
    elapsed = time.perf_counter() - started
    run.over = True
    for client in clients:
        client.close()
    times = np.array(run.times or [float("nan")]) * 1000
    return Load(
        round(len(run.times) / elapsed, 1),
        round(float(np.percentile(times, 50)), 3),
        round(float(np.percentile(times, 99)), 3),
        len(run.times),
        dict(sorted(run.statuses.items())),
        run.broken,
    )


class _Run:
    """What all connections share."""

    def __init__(self, requests: Iterator[bytes]) -> None:
        self.requests = requests
        self.over = False
        self.reset()

    def reset(self) -> None:
        self.times: list[float] = []
        self.statuses: dict[int, int] = {}
        self.broken = 0

    def answered(self, status: int, seconds: float) -> None:
        self.times.append(seconds)
        self.statuses[status] = self.statuses.get(status, 0) + 1


class _Client(asyncio.Protocol):
    """One connection with one request under way."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._buffer = b""
        self._needed = 0
        self._sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def close(self) -> None:
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        if not self._needed:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            self._needed = end + 4 + _content_length(self._buffer[:end])
        if len(self._buffer) < self._needed:
            return
        self._run.answered(int(self._buffer[9:12]), time.perf_counter() - self._sent)
        self._buffer, self._needed = b"", 0
        if not self._run.over:
            self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._run.over:
            self._run.broken += 1

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(next(self._run.requests))


def _content_length(head: bytes) -> int:
    at = head.lower().find(b"content-length:")
    if at < 0:
        raise ValueError("the answer has no Content-Length")
    return int(head[at + 15 :].split(b"\r\n", 1)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="for example http://127.0.0.1:8083/features/user_alice")
    parser.add_argument("--connections", "-c", type=int, default=32)
    parser.add_argument("--seconds", "-s", type=float, default=5.0)
    args = parser.parse_args()
    url = urlsplit(args.url)
    path = url.path + (f"?{url.query}" if url.query else "")
    found = load(url.hostname or "127.0.0.1", url.port or 80, [get(path)], args.connections, args.seconds)
    print(json.dumps(asdict(found)))


if __name__ == "__main__":
    main()
