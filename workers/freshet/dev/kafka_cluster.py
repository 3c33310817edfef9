"""Several real Apache Kafka nodes on this machine: each is broker and controller, and one of three may be away."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from freshet.dev.errors import ServerFailed
from freshet.dev.kafka_server import EmbeddedKafka
from freshet.dev.ports import HOST, free_ports

_HEAP_MEGABYTES = 256
_IN_SYNC_SECONDS = 60.0


class EmbeddedKafkaCluster:
    """Nodes that hold copies of each other's partitions. `nodes[i]` may be killed and started again."""

    def __init__(
        self, folder: Path, nodes: int = 3, advertised: Sequence[int] = (), properties: Mapping[str, str] | None = None
    ) -> None:
        """`advertised`: ports on which clients reach the nodes, where something stands in between; what it passes on to
        is `nodes[i].port`. `properties` go into every server.properties last."""
        ports = free_ports(3 * nodes)
        clients, peers, controllers = ports[:nodes], ports[nodes : 2 * nodes], ports[2 * nodes :]
        self._reached = list(advertised) or clients
        voters = ",".join(f"{i + 1}@{HOST}:{port}" for i, port in enumerate(controllers))
        copies = str(min(3, nodes))
        shared = {
            "controller.quorum.voters": voters,
            "inter.broker.listener.name": "PEERS",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,PEERS:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "offsets.topic.replication.factor": copies,
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": str(max(1, nodes - 1)),
            "share.coordinator.state.topic.replication.factor": copies,
            # A node that is away is noticed as fast as one that restarts is let in again.
            "replica.lag.time.max.ms": "4000",
            "controller.quorum.fetch.timeout.ms": "2000",
            "controller.quorum.election.timeout.ms": "1000",
        } | dict(properties or {})
        self.nodes = [
            EmbeddedKafka(
                folder / str(i + 1),
                clients[i],
                _HEAP_MEGABYTES,
                {
                    "node.id": str(i + 1),
                    "listeners": f"PLAINTEXT://{HOST}:{clients[i]},PEERS://{HOST}:{peers[i]},"
                    f"CONTROLLER://{HOST}:{controllers[i]}",
                    "advertised.listeners": f"PLAINTEXT://{HOST}:{self._reached[i]},PEERS://{HOST}:{peers[i]}",
                    **shared,
                },
            )
            for i in range(nodes)
        ]

    @property
    def bootstrap(self) -> str:
        """All nodes as clients reach them, for `bootstrap.servers`."""
        return ",".join(f"{HOST}:{port}" for port in self._reached)

    def start(self) -> Self:
        """Starts all nodes and waits until clients can use them. Raises NotInstalled, ServerFailed."""
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            node.wait()
        return self

    def stop(self) -> None:
        """Ends all nodes."""
        for node in self.nodes:
            node.stop(grace_seconds=1)  # in order, a node would first hand its partitions to nodes that end too

    def lagging(self) -> list[str]:
        """Partitions of which a copy is behind or away, as topic-number. Raises KafkaException without an answer."""
        client = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0, "socket.timeout.ms": 5000})
        topics = client.list_topics(timeout=5).topics
        return [
            f"{name}-{number}"
            for name, topic in topics.items()
            for number, partition in topic.partitions.items()
            if set(partition.isrs) != set(partition.replicas)
        ]

    def wait_in_sync(self, timeout_seconds: float = _IN_SYNC_SECONDS) -> None:
        """Returns when every partition has all its copies. Raises ServerFailed if that takes too long."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            try:
                behind = self.lagging()
            except KafkaException as error:
                behind = [str(error)]
            if not behind:
                return
            if time.monotonic() > deadline:
                raise ServerFailed(f"Kafka: not in sync after {timeout_seconds:g} s: {', '.join(behind[:5])}")
            time.sleep(0.3)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
