"""A real Valkey cluster without replicas, on free ports of this machine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import redis

from freshet.dev.ports import HOST, free_ports
from freshet.dev.servers import EmbeddedValkey

_SLOTS = 16384
_READY_SECONDS = 30


@contextmanager
def valkey_cluster(folder: Path, nodes: int = 3) -> Iterator[str]:
    """The URL of a cluster whose slots are spread evenly."""
    with ExitStack() as stack:
        buses = free_ports(nodes)
        servers = []
        for i, bus in enumerate(buses):
            config = {"cluster-enabled": "yes", "cluster-node-timeout": "10000", "cluster-port": str(bus)}
            servers.append(stack.enter_context(EmbeddedValkey(folder / str(i), config=config)))
        clients = [stack.enter_context(redis.Redis(host=HOST, port=server.port)) for server in servers]
        for i, client in enumerate(clients):
            _cluster(client, "ADDSLOTSRANGE", i * _SLOTS // nodes, (i + 1) * _SLOTS // nodes - 1)
            _cluster(client, "SET-CONFIG-EPOCH", i + 1)
            _cluster(client, "MEET", HOST, servers[0].port, buses[0])
        deadline = time.monotonic() + _READY_SECONDS
        while not all(_sees(client, nodes) for client in clients):
            assert time.monotonic() < deadline, "the cluster did not come up"
            time.sleep(0.05)
        yield f"redis+cluster://{HOST}:{servers[0].port}"


def _cluster(client: redis.Redis, *args: str | int) -> Any:
    return client.execute_command("CLUSTER", *args)  # type: ignore[no-untyped-call]


def _sees(client: redis.Redis, nodes: int) -> bool:
    lines = _cluster(client, "INFO").split()
    return b"cluster_state:ok" in lines and b"cluster_known_nodes:%d" % nodes in lines
