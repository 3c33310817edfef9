"""One real Apache Kafka node (KRaft: broker and controller in one process) on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from freshet.dev.children import spawn, tail
from freshet.dev.embedded import EmbeddedServer
from freshet.dev.errors import ServerFailed
from freshet.dev.kafka_files import CACHE, ahead_of_time, classpath, java
from freshet.dev.ports import HOST, free_ports

_CLUSTER_ID = "ZnJlc2hldC1kZXYtMDAwMA"
# The serial collector and the first compiler alone start fastest and leave the second core to the services.
_JAVA_OPTIONS = (
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xlog:aot*=error",
    "--sun-misc-unsafe-memory-access=allow",
    "--enable-native-access=ALL-UNNAMED",
    "-Dorg.apache.logging.log4j.level=WARN",
)


class EmbeddedKafka(EmbeddedServer):
    """A single-node Kafka whose data and logs are in one folder.

    Topics are not created by mere use.
    """

    name = "Kafka"
    _patience_seconds = 60

    def __init__(
        self,
        folder: Path,
        port: int = 0,
        heap_megabytes: int = 512,
        properties: Mapping[str, str] | None = None,
        cache: Path = CACHE,
    ) -> None:
        """`port` 0: a free one, kept for later starts. `properties` go into server.properties last."""
        super().__init__(folder, "kafka.log", port)
        self._heap_megabytes = heap_megabytes
        self._properties = dict(properties or {})
        self._cache = cache

    @property
    def bootstrap(self) -> str:
        """`host:port` for `bootstrap.servers`."""
        return f"{HOST}:{self.port}"

    def launch(self) -> None:
        """Starts the process without waiting until it answers. Raises NotInstalled, ServerFailed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = self._write_settings()
        self._format([*self._java("tool"), "kafka.tools.StorageTool", "format", "--ignore-formatted"], settings)
        self._process = spawn([*self._java("server"), "kafka.Kafka", str(settings)], self.log, folder=self.folder)

    def _java(self, part: str) -> list[str]:
        options = (f"-Xmx{self._heap_megabytes}m", *_JAVA_OPTIONS, *self._ahead_of_time(part))
        return [str(java()), *options, "-cp", classpath(self._cache)]

    def _ahead_of_time(self, part: str) -> list[str]:
        made = ahead_of_time(part, self._cache)
        return [f"-XX:AOTCache={made}"] if made.exists() else []

    def _write_settings(self) -> Path:
        # The controller's port is never used by clients: any free one will do, a new one for each start.
        if self.port == 0:
            self.port, controller = free_ports(2)
        else:
            (controller,) = free_ports(1)
        properties = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{HOST}:{controller}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://{HOST}:{self.port},CONTROLLER://{HOST}:{controller}",
            "log.dirs": str(self.folder / "data"),
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "1000",
            # A killed broker may come back only when its last session has run out.
            "broker.heartbeat.interval.ms": "500",
            "broker.session.timeout.ms": "3000",
            "log.retention.check.interval.ms": "60000",
        } | self._properties
        path = self.folder / "server.properties"
        path.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
        return path

    def _format(self, command: list[str], settings: Path) -> None:
        if (self.folder / "data" / "meta.properties").exists():
            return
        child = spawn([*command, "--cluster-id", _CLUSTER_ID, "--config", str(settings)], self.log)
        if child.wait() != 0:
            raise ServerFailed(f"Kafka's storage could not be prepared:\n{tail(self.log)}")

    def _answers(self) -> bool:
        # log_level 0: a refused connection is what we are waiting to end, not news for the terminal.
        client = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0, "socket.timeout.ms": 2000})
        try:
            return bool(client.list_topics(timeout=2).brokers)
        except KafkaException:
            return False
