"""A TCP proxy between a client and a server that can be a bad network: cut, slow, silent, or gone to another server."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from freshet.dev.ports import HOST, free_ports

_CHUNK = 1 << 16
_IN_FLIGHT = 256
"""Chunks of one direction that are under way while the network is slow."""
_CALL_SECONDS = 20.0
Result = TypeVar("Result")


class Network:
    """The thread that all proxies of a run share. Close it after use."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="network", daemon=True)
        self._thread.start()
        self._proxies: list[Proxy] = []

    def proxy(self, target: int) -> Proxy:
        """A new proxy that listens and passes on to this port of the machine."""
        made = Proxy(self, target)
        self.call(made.open())
        self._proxies.append(made)
        return made

    def call(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Runs it in the network's thread and waits."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_CALL_SECONDS)

    def close(self) -> None:
        """Ends all connections and the thread."""
        for proxy in self._proxies:
            self.call(proxy.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CALL_SECONDS)
        self._loop.close()


class Proxy:
    """One port before one server. Methods without `async` may be called from any thread."""

    def __init__(self, network: Network, target: int) -> None:
        (self.port,) = free_ports(1)
        self.target = target
        """Where new connections lead."""
        self.delay_seconds = 0.0
        """How long each chunk is under way, in either direction; the rate is not bounded by it."""
        self._network = network
        self._asking, self._answering = asyncio.Event(), asyncio.Event()
        self._asking.set()
        self._answering.set()
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    def cut(self) -> None:
        """Every connection ends now, as by a reset; new ones are taken."""
        self._network.call(self._cut())

    def stall(self) -> None:
        """Nothing gets through any more; connections stay open and new ones are taken but not answered."""
        self._network.call(self._flow(False, False))

    def mute(self) -> None:
        """What clients send arrives, but nothing comes back to them; connections stay open."""
        self._network.call(self._flow(True, False))

    def heal(self) -> None:
        """No delay, no silence: what was held back arrives."""
        self.delay_seconds = 0.0
        self._network.call(self._flow(True, True))

    def refuse(self) -> None:
        """Nobody listens any more, connections are cut."""
        self._network.call(self.close())

    def listen(self) -> None:
        """Listens again after `refuse`."""
        self._network.call(self.open())

    async def open(self) -> None:
        """Begins to listen."""
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, HOST, self.port)

    async def close(self) -> None:
        """Ends listening and all connections."""
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._cut()

    async def _flow(self, asking: bool, answering: bool) -> None:
        for gate, opens in ((self._asking, asking), (self._answering, answering)):
            if opens:
                gate.set()
            else:
                gate.clear()

    async def _cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        links = list(self._links)
        for link in links:
            link.cancel()
        await asyncio.gather(*links, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = asyncio.current_task()
        assert link is not None
        self._links.add(link)
        self._writers.add(writer)
        try:
            await self._asking.wait()
            await self._connect(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # the server is not there, or the link was cut: the client sees its connection end
        finally:
            writer.transport.abort()
            self._writers.discard(writer)
            self._links.discard(link)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(HOST, self.target)
        self._writers.add(far_writer)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(reader, far_writer, self._asking))
                both.create_task(self._pump(far_reader, writer, self._answering))
        except* OSError:
            pass
        finally:
            far_writer.transport.abort()
            self._writers.discard(far_writer)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gate: asyncio.Event) -> None:
        """One direction, in order; ends both when its sender has ended."""
        chunks: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_IN_FLIGHT)
        loop = asyncio.get_running_loop()
        deliver = asyncio.create_task(self._deliver(chunks, writer, gate))
        try:
            while data := await reader.read(_CHUNK):
                await chunks.put((loop.time() + self.delay_seconds, data))
            await chunks.put((0.0, b""))
            await deliver
        finally:
            deliver.cancel()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await deliver
        raise ConnectionResetError

    async def _deliver(
        self, chunks: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter, gate: asyncio.Event
    ) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, data = await chunks.get()
            if not data:
                return
            if due > loop.time():
                await asyncio.sleep(due - loop.time())
            await gate.wait()
            writer.write(data)
            await writer.drain()
