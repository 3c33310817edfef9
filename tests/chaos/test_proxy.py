"""The proxy is a network: it passes on, and can be cut, slow, silent, or lead somewhere else."""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from freshet.dev.ports import HOST
from tests.chaos.proxy import Network, Proxy


class _Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(1 << 16):
            self.request.sendall(self.server.name + data)  # type: ignore[attr-defined]


@contextmanager
def echo(name: bytes = b"") -> Iterator[int]:
    """The port of a server that sends back what it gets, with its name before it."""
    with socketserver.ThreadingTCPServer((HOST, 0), _Echo) as server:
        server.daemon_threads, server.name = True, name  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """Before an echo."""
    network = Network()
    with echo() as port:
        yield network.proxy(port)
        network.close()


def connection(proxy: Proxy) -> socket.socket:
    return socket.create_connection((HOST, proxy.port), timeout=5)


def ended(client: socket.socket) -> bool:
    """Whether the other side has gone; fails with TimeoutError if nothing tells so."""
    try:
        return not client.recv(9)
    except ConnectionError:
        return True


def test_it_passes_on_much_and_in_order(proxy: Proxy) -> None:
    sent = bytes(range(256)) * 8_000
    with connection(proxy) as client:
        threading.Thread(target=client.sendall, args=(sent,), daemon=True).start()
        got = b""
        while len(got) < len(sent) and (data := client.recv(1 << 16)):
            got += data
    assert got == sent


def test_a_cut_ends_connections_and_new_ones_work(proxy: Proxy) -> None:
    with connection(proxy) as client:
        client.sendall(b"a")
        assert client.recv(9) == b"a"
        proxy.cut()
        assert ended(client)
    with connection(proxy) as client:
        client.sendall(b"c")
        assert client.recv(9) == b"c"


def test_a_slow_network_delays_both_ways_but_keeps_its_rate(proxy: Proxy) -> None:
    proxy.delay_seconds = 0.2
    with connection(proxy) as client:
        began = time.monotonic()
        for _ in range(10):
            client.sendall(b"x")
            time.sleep(0.01)
        got = b""
        while len(got) < 10:
            got += client.recv(9)
        took = time.monotonic() - began
    assert took >= 0.4
    assert took < 2.0, "ten chunks wait together, not one after the other"


@pytest.mark.parametrize("silence", [Proxy.stall, Proxy.mute])
def test_what_was_held_back_arrives_when_it_heals(proxy: Proxy, silence: Callable[[Proxy], None]) -> None:
    with connection(proxy) as client:
        silence(proxy)
        client.sendall(b"a")
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(9)
        proxy.heal()
        client.settimeout(5)
        assert client.recv(9) == b"a"


def test_nobody_listens_after_refuse(proxy: Proxy) -> None:
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        connection(proxy)
    proxy.listen()
    with connection(proxy) as client:
        client.sendall(b"a")
        assert client.recv(9) == b"a"


def test_new_connections_lead_to_another_server(proxy: Proxy) -> None:
    with echo(b"other ") as port, connection(proxy) as before:
        before.sendall(b"a")
        assert before.recv(9) == b"a"
        proxy.target = port
        with connection(proxy) as after:
            after.sendall(b"a")
            assert after.recv(9) == b"other a"
        before.sendall(b"b")
        assert before.recv(9) == b"b", "old connections stay where they are"


def test_the_end_of_a_server_reaches_the_client() -> None:
    network = Network()
    proxy = network.proxy(1)  # nobody listens there
    with connection(proxy) as client:
        assert ended(client)
    network.close()
