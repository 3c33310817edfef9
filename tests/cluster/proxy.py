"""A reverse proxy before the API server: it counts what the operator asks, and can be every bad day of an API server.

It speaks plain HTTP to the operator, which keeps its own token, and TLS to the API server.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

import aiohttp
from aiohttp import web

from freshet.dev.ports import HOST, free_ports
from tests.cluster.api import Access

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "host"}
_READS = {"GET", "HEAD", "OPTIONS"}
Result = TypeVar("Result")

_SILENT = logging.getLogger(f"{__name__}.server")
_SILENT.setLevel(logging.CRITICAL + 1)  # an operator that is killed leaves answers behind that nobody takes


@dataclass(slots=True)
class Seen:
    """A request that came."""

    method: str
    path: str
    """With its query."""
    at: float
    """time.monotonic()."""
    agent: str = ""
    status: int = 0
    """Of the answer; 0: none was given."""
    injected: bool = False
    """The answer was the proxy's own."""
    told: bytes = b""
    """What a refusal said."""

    @property
    def is_watch(self) -> bool:
        return self.method == "GET" and "watch=" in self.path

    @property
    def is_write(self) -> bool:
        """Whether it meant to change something, the Lease apart, which is renewed all the time."""
        return self.method not in _READS and "/leases" not in self.path


def _every(_: Seen) -> bool:
    return True


@dataclass
class Fault:
    """What happens to requests instead of being passed on."""

    status: int = 0
    """Answered with this status."""
    delay: float = 0.0
    """Seconds until it is passed on."""
    gone: bool = False
    """A watch is answered with one event that says 410 Gone."""
    only: Callable[[Seen], bool] = _every
    times: int | None = None
    """How often; None: until it is lifted."""
    hit: int = field(default=0, init=False)
    """How often it has happened."""


class Proxy:
    """One proxy with an address and a log of its own. Methods may be called from any thread."""

    def __init__(self, access: Access) -> None:
        self.port: int = free_ports(1)[0]
        self.seen: list[Seen] = []
        self.mute = False
        """True: watches stay open and say nothing more."""
        self._access = access
        self._faults: list[Fault] = []
        self._watches: set[web.StreamResponse] = set()
        self._transports: set[asyncio.Transport] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._site: web.TCPSite | None = None

    @property
    def url(self) -> str:
        """For a kubeconfig."""
        return f"http://{HOST}:{self.port}"

    def start(self) -> Proxy:
        """Listens."""
        self._thread.start()
        self._do(self._start())
        return self

    def stop(self) -> None:
        """Ends the listening, the connections and the thread."""
        self._do(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def inject(self, *faults: Fault) -> None:
        """From now on these happen, to running watches too: their connections are cut."""
        self._faults = list(faults)
        self._do(self._cut())

    def lift(self) -> None:
        """From now on everything is passed on again."""
        self._faults = []
        self.mute = False

    def refuse(self) -> None:
        """Nobody listens any more; connections are cut."""
        self._do(self._close())

    def listen(self) -> None:
        """Listens again after `refuse`."""
        self._do(self._open())

    def since(self, at: float) -> list[Seen]:
        """What came after a time.monotonic()."""
        return [seen for seen in list(self.seen) if seen.at >= at]

    def writes(self, since: float = 0.0) -> list[Seen]:
        """The requests that change something, without the Lease's."""
        return [seen for seen in self.since(since) if seen.is_write]

    def forbidden(self) -> list[str]:
        """What the API server itself has refused for want of a right; 403 also means a namespace that is going."""
        refused = [s for s in list(self.seen) if s.status in (401, 403) and not s.injected]
        return [f"{s.method} {s.path}" for s in refused if b"being terminated" not in s.told]

    def _do(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    async def _start(self) -> None:
        connector = aiohttp.TCPConnector(ssl=self._access.tls(as_user=False), limit=0)
        timeout = aiohttp.ClientTimeout(total=None)
        self._upstream = aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False)
        app = web.Application(client_max_size=16 << 20)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(
            app, access_log=None, logger=_SILENT, shutdown_timeout=0.1, handler_cancellation=True
        )
        await self._runner.setup()
        await self._open()

    async def _open(self) -> None:
        self._site = web.TCPSite(self._runner, HOST, self.port, reuse_address=True)
        await self._site.start()

    async def _close(self) -> None:
        if self._site is not None:
            await self._site.stop()
            self._site = None
        await self._cut()

    async def _cut(self) -> None:
        for transport in list(self._transports):
            transport.abort()

    async def _stop(self) -> None:
        await self._close()
        await self._runner.cleanup()
        await self._upstream.close()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.wait([asyncio.ensure_future(asyncio.sleep(0.05)), *rest])  # TLS connections say goodbye

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        path = request.raw_path
        seen = Seen(request.method, path, time.monotonic(), request.headers.get("User-Agent", ""))
        self.seen.append(seen)
        transport = request.transport
        if transport is not None:
            self._transports.add(transport)
        try:
            body = await request.read()
            answer = await self._fault(request, seen)
            return answer if answer is not None else await self._pass_on(request, seen, body)
        finally:
            if transport is not None and transport.is_closing():
                self._transports.discard(transport)

    async def _fault(self, request: web.Request, seen: Seen) -> web.StreamResponse | None:
        for fault in self._faults:
            if not fault.only(seen) or (fault.times is not None and fault.hit >= fault.times):
                continue
            fault.hit += 1
            if fault.delay:
                await asyncio.sleep(fault.delay)
                continue
            seen.injected = True
            seen.status = fault.status or 200
            if fault.gone:
                event = {"type": "ERROR", "object": _status(410, "Expired", "too old resource version")}
                return web.Response(body=json.dumps(event).encode() + b"\n", content_type="application/json")
            return web.json_response(_status(fault.status, _REASONS[fault.status], "test"), status=fault.status)
        return None

    async def _pass_on(self, request: web.Request, seen: Seen, body: bytes) -> web.StreamResponse:
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _HOP_BY_HOP}
        target = self._access.server + seen.path
        try:
            async with self._upstream.request(request.method, target, headers=headers, data=body or None) as answer:
                seen.status = answer.status
                response = web.StreamResponse(status=answer.status)
                for name, value in answer.headers.items():
                    if name.lower() not in _HOP_BY_HOP:
                        response.headers[name] = value
                await response.prepare(request)
                async for chunk in answer.content.iter_any():
                    if answer.status >= 400:
                        seen.told += chunk
                    while self.mute and seen.is_watch:
                        await asyncio.sleep(0.1)
                    await response.write(chunk)
                await response.write_eof()
                return response
        except (aiohttp.ClientError, ConnectionError) as error:
            if seen.status == 0:
                return web.json_response(_status(502, "BadGateway", str(error)), status=502)
            raise  # the operator has gone, or the stream broke: nobody to tell


_REASONS = {
    401: "Unauthorized",
    403: "Forbidden",
    409: "Conflict",
    410: "Expired",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
}


def _status(code: int, reason: str, message: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Status",
        "metadata": {},
        "status": "Failure",
        "reason": reason,
        "code": code,
        "message": message,
    }
