"""One Kafka, one Valkey, one PostgreSQL and the services of a manifest, without proxies: what long runs stand on."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from freshet.dev.servers import EmbeddedKafka, EmbeddedPostgres, EmbeddedValkey
from freshet.runtime.settings import KafkaSettings
from freshet.spec.definition import FeatureSet
from freshet.spec.load import parse_featureset
from freshet.stores import kafka
from tests.chaos.processes import Process

PARTITIONS = 12
_DEAD_LETTERS = "dead-letter-queue"
_MANIFEST = """
apiVersion: freshet.dev/v1alpha1
kind: FeatureSet
metadata: {name: long-run}
spec:
  version: v1
  entity: {name: user, key: user_id}
  source:
    topic: raw-events
    partitions: 12
    replication: 1
    retention: 8d
    deduplicate: 2m
    fields:
      event_type: {type: string, required: true}
      amount: {type: double}
  features:
    - {name: n, aggregate: count, windows: [1m, 5m]}
    - {name: total, aggregate: sum, of: amount, windows: [1m, 5m]}
    - {name: mean, aggregate: mean, of: amount, windows: [5m]}
    - {name: ever, aggregate: count}
    - {name: spent, aggregate: sum, of: amount}
    - {name: sessions, aggregate: session_count, gap: 30m}
    - {name: per_event, expression: "total_5m / nullif(n_5m, 0)"}
  output: {topic: feature-events, every: 10s}
"""


class Bare:
    """Use as a context; services are started one by one."""

    def __init__(self, folder: Path, *, history: bool) -> None:
        self.folder = folder
        self.kafka = EmbeddedKafka(folder / "kafka")
        self.valkey = EmbeddedValkey(folder / "valkey", appendonly=True)
        self.postgres = EmbeddedPostgres(folder / "postgres") if history else None
        self.featureset: FeatureSet = parse_featureset(_MANIFEST)
        self.manifest = folder / "featureset.yaml"
        self.manifest.write_text(_MANIFEST)
        self.services: list[Process] = []

    @property
    def settings(self) -> KafkaSettings:
        """Of a client."""
        return KafkaSettings(bootstrap=self.kafka.bootstrap)

    def service(self, name: str, command: str) -> Process:
        """Starts one and waits until it is ready."""
        environment = {
            "FRESHET_KAFKA": self.kafka.bootstrap,
            "FRESHET_REDIS": self.valkey.url,
            "FRESHET_POSTGRES": self.postgres.url if self.postgres and command != "ingest" else "",
            "FRESHET_MANIFESTS": str(self.manifest),
            "FRESHET_DEAD_LETTER_TOPIC": _DEAD_LETTERS,
        }
        process = Process(name, ["freshet", command], self.folder / f"{name}.log", environment)
        self.services.append(process)
        process.start()
        process.wait()
        return process

    def __enter__(self) -> Self:
        for server in (self.kafka, self.valkey, self.postgres):
            if server is not None:
                server.start()
        kafka.ensure_topics(kafka.admin(self.settings), [self.featureset], _DEAD_LETTERS, replication=1)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for process in self.services:
            process.kill()
        for server in (self.postgres, self.valkey, self.kafka):
            if server is not None:
                server.stop()
