"""A real Valkey cluster on free ports of this machine, with a replica of each shard where a test fails over."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import redis

from freshet.dev.ports import HOST, free_ports
from freshet.dev.servers import EmbeddedValkey

_SLOTS = 16384
_READY_SECONDS = 30


class ValkeyCluster:
    """Shards whose slots are spread evenly. `primaries[i]` and `replicas[i]` are of shard i."""

    def __init__(self, folder: Path, shards: int = 3, *, replicas: bool = False, node_timeout_ms: int = 10_000) -> None:
        """With replicas the nodes keep their data over restarts too."""
        count = 2 * shards if replicas else shards
        self._buses = free_ports(count)
        servers = [
            EmbeddedValkey(
                folder / str(i),
                appendonly=replicas,
                config={
                    "cluster-enabled": "yes",
                    "cluster-node-timeout": str(node_timeout_ms),
                    "cluster-port": str(bus),
                    "repl-diskless-sync-delay": "0",
                },
            )
            for i, bus in enumerate(self._buses)
        ]
        self.primaries, self.replicas = servers[:shards], servers[shards:]

    @property
    def servers(self) -> list[EmbeddedValkey]:
        """All nodes."""
        return [*self.primaries, *self.replicas]

    @property
    def url(self) -> str:
        """Any of the nodes leads to the others."""
        return "redis+cluster://" + ",".join(f"{HOST}:{server.port}" for server in self.servers)

    def start(self) -> None:
        """Starts the nodes, makes them a cluster and waits until each sees it so."""
        for server in self.servers:
            server.start()
        with ExitStack() as stack:
            clients = [stack.enter_context(node(server)) for server in self.servers]
            shards = len(self.primaries)
            for i, client in enumerate(clients):
                if i < shards:
                    command(client, "ADDSLOTSRANGE", i * _SLOTS // shards, (i + 1) * _SLOTS // shards - 1)
                command(client, "SET-CONFIG-EPOCH", i + 1)
                command(client, "MEET", HOST, self.servers[0].port, self._buses[0])
            _wait(lambda: all(_sees(client, len(clients)) for client in clients))
            for i, client in enumerate(clients[shards:]):
                command(client, "REPLICATE", command(clients[i], "MYID").decode())
                _wait(lambda client=client: client.info("replication").get("master_link_status") == "up")  # type: ignore[misc]
            _wait(lambda: all(_sees(client, len(clients)) for client in clients))

    def stop(self) -> None:
        """Ends all nodes."""
        for server in self.servers:
            server.stop(grace_seconds=0)


@contextmanager
def valkey_cluster(folder: Path, nodes: int = 3) -> Iterator[str]:
    """The URL of a cluster without replicas, by one of its nodes."""
    cluster = ValkeyCluster(folder, nodes)
    try:
        cluster.start()
        yield cluster.url.partition(",")[0]
    finally:
        cluster.stop()


def node(server: EmbeddedValkey) -> redis.Redis:
    """A client of one node."""
    return redis.Redis(host=HOST, port=server.port, socket_timeout=5)


def command(client: redis.Redis, *args: str | int) -> Any:
    """CLUSTER …"""
    return client.execute_command("CLUSTER", *args)  # type: ignore[no-untyped-call]


def _sees(client: redis.Redis, nodes: int) -> bool:
    lines = command(client, "INFO").split()
    return b"cluster_state:ok" in lines and b"cluster_known_nodes:%d" % nodes in lines


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the cluster did not come up"
        time.sleep(0.05)
