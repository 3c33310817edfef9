"""A whole installation on one machine: Kafka, the stores and every service, started and ended in order."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from confluent_kafka import KafkaException

from freshet.dev.embedded import EmbeddedServer
from freshet.dev.errors import ServerFailed
from freshet.dev.hub import Hub
from freshet.dev.kafka_files import is_cached
from freshet.dev.ports import HOST, free_ports, listens, require_free
from freshet.dev.servers import EmbeddedKafka, EmbeddedPostgres, EmbeddedValkey
from freshet.dev.service import Service
from freshet.runtime.settings import KafkaSettings
from freshet.spec.definition import FeatureSet
from freshet.spec.load import load_featuresets
from freshet.stores.kafka import admin
from freshet.stores.topics import ensure_topics

DEAD_LETTERS = "dead-letter-queue"
_READY_SECONDS = 60.0
_GRACE_SECONDS = 10.0

Tell = Callable[[str], None]
"""Takes one sentence about what happens."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the installation listens; 0 is a free port."""

    ingest: int = 8080
    serving: int = 8083
    metrics: int = 8082
    kafka: int = 0
    valkey: int = 0
    postgres: int = 0


class Stack:
    """Use as a context: everything runs inside, nothing is left behind.

    `check` must be called at least once a second, and from the thread that entered.
    """

    def __init__(
        self,
        manifests: Sequence[Path],
        folder: Path,
        ports: Ports | None = None,
        tell: Tell = lambda _: None,
        environment: Mapping[str, str] | None = None,
        *,
        history: bool = True,
    ) -> None:
        """`folder` keeps data and logs. `environment` is added to that of the services.

        `history`: whether there is a PostgreSQL with a recorder.

        Raises ManifestError for manifests with mistakes.
        """
        self.manifests = tuple(path.resolve() for path in manifests)
        self.featuresets: list[FeatureSet] = load_featuresets(self.manifests)
        self.folder = folder
        self.ports = ports or Ports()
        self.kafka = EmbeddedKafka(folder / "kafka", self.ports.kafka)
        self.valkey = EmbeddedValkey(folder / "valkey", self.ports.valkey, appendonly=True)
        self.postgres = EmbeddedPostgres(folder / "postgres", self.ports.postgres) if history else None
        self.services: list[Service] = []
        self._tell = tell
        self._environment = dict(environment or {})
        self._hub: Hub | None = None
        self._ports: dict[str, int] = {}

    @property
    def ingest_url(self) -> str:
        """Base URL of POST /ingest."""
        return f"http://localhost:{self._ports['ingest']}"

    @property
    def serving_url(self) -> str:
        """Base URL of GET /features."""
        return f"http://localhost:{self._ports['serving']}"

    @property
    def hub(self) -> Hub:
        """Metrics of all services."""
        assert self._hub is not None, "the stack is not entered"
        return self._hub

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends the services first, so that they can flush, then the servers."""
        for service in self.services:
            if service.alive:
                service.process.terminate()
        for service in self.services:
            service.stop(_GRACE_SECONDS)
        if self._hub is not None:
            self._hub.close()
            self._hub = None
        for server in reversed(self._servers):
            server.stop()

    @property
    def _servers(self) -> list[EmbeddedServer]:
        return [self.kafka, self.valkey, *([self.postgres] if self.postgres is not None else [])]

    def check(self) -> list[str]:
        """Restarts services that died and returns what there is to tell. Raises ServerFailed when a server died."""
        for server in self._servers:
            if server.process.poll() is not None:
                server.wait()  # finds it dead and raises with its last log lines
        return [story for service in self.services if (story := service.watch())]

    def _start(self) -> None:
        ports = self.ports
        require_free(
            {
                "--port-ingest": ports.ingest,
                "--port-serving": ports.serving,
                "--port-metrics": ports.metrics,
                "--port-kafka": ports.kafka,
                "--port-valkey": ports.valkey,
                "--port-postgres": ports.postgres,
            }
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        if not is_cached():
            self._tell("fetching Apache Kafka (44 MB, once)")
        self._tell(f"starting {', '.join(server.name for server in self._servers)}")
        for server in self._servers:
            server.launch()
        for server in self._servers:
            server.wait()
        self._tell("making topics")
        self._make_topics()
        self._make_services()
        self._hub = Hub(ports.metrics, self.services)
        for service in self.services:
            service.start()
        self._await_services()

    def _make_topics(self) -> None:
        client = admin(KafkaSettings(bootstrap=self.kafka.bootstrap))
        try:
            ensure_topics(client, self.featuresets, DEAD_LETTERS, replication=1)
        except KafkaException as error:
            raise ServerFailed(f"the topics could not be made: {error.args[0].str()}") from error

    def _make_services(self) -> None:
        stages = {fs.source.topic: fs for fs in self.featuresets if fs.source.origin is not None}
        ingest, serving, *metrics = free_ports(5 + len(self.featuresets) + len(stages))
        self._ports = {"ingest": self.ports.ingest or ingest, "serving": self.ports.serving or serving}
        self._add("ingest", "ingest", metrics.pop(), FRESHET_PORT=str(self._ports["ingest"]))
        for featureset in stages.values():
            self._add(
                f"rekey-{featureset.definition.entity}", "rekey", metrics.pop(), FRESHET_FEATURESET=featureset.name
            )
        for featureset in self.featuresets:
            name = "processor" if len(self.featuresets) == 1 else f"processor-{featureset.name}"
            self._add(name, "processor", metrics.pop(), FRESHET_FEATURESET=featureset.name)
        self._add("serving", "serving", metrics.pop(), FRESHET_PORT=str(self._ports["serving"]))
        if self.postgres is not None:
            self._add("recorder", "recorder", metrics.pop())

    def _add(self, name: str, command: str, metrics_port: int, **own: str) -> None:
        logs = self.folder / "logs"
        logs.mkdir(exist_ok=True)
        environment = {
            **os.environ,
            "PYTHONUNBUFFERED": "1",
            "FRESHET_KAFKA": self.kafka.bootstrap,
            "FRESHET_KAFKA_CONFIG": "",
            "FRESHET_REDIS": self.valkey.url,
            "FRESHET_POSTGRES": self.postgres.url if self.postgres is not None else "",
            "FRESHET_MANIFESTS": ",".join(map(str, self.manifests)),
            "FRESHET_FEATURESET": "",
            "FRESHET_DEAD_LETTER_TOPIC": DEAD_LETTERS,
            "FRESHET_HOST": HOST,
            "FRESHET_METRICS_HOST": HOST,
            "FRESHET_METRICS_PORT": str(metrics_port),
            "FRESHET_LOG_FORMAT": "text",
            "FRESHET_GRACE_SECONDS": f"{_GRACE_SECONDS * 0.8:g}",
            **self._environment,
            **own,
        }
        self.services.append(Service(name, command, environment, metrics_port, logs / f"{name}.log"))

    def _await_services(self) -> None:
        """A service that dies while starting has a reason that a restart will not mend."""
        deadline = time.monotonic() + _READY_SECONDS
        waiting = list(self.services)
        while waiting:
            self._tell(f"starting {', '.join(service.name for service in waiting)}")
            for service in waiting:
                if not service.alive:
                    raise ServerFailed(service.death())
            if time.monotonic() > deadline:
                told = "\n".join(f"{service.name}: {service.ready()[1]}" for service in waiting)
                raise ServerFailed(f"not ready within {_READY_SECONDS:g} s; logs are in {self.folder / 'logs'}\n{told}")
            time.sleep(0.05)
            waiting = [service for service in waiting if not self._usable(service)]

    def _usable(self, service: Service) -> bool:
        """Ready, reachable on its port, and for a processor: with its partitions, all caught up with."""
        if service.name in self._ports and not listens(self._ports[service.name]):
            return False
        ready, details = service.ready()
        return ready and bool(details.get("partitions", True)) and not details.get("rebuilding")
