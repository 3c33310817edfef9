"""The real servers and services of a benchmark, pinned: what is measured on one core, everything else on the other."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import redis

from freshet.dev import children
from freshet.dev.ports import free_ports
from freshet.dev.servers import EmbeddedKafka, EmbeddedValkey
from freshet.runtime.settings import KafkaSettings
from freshet.spec import naming
from freshet.spec.definition import FeatureSet
from freshet.spec.load import load_featuresets
from freshet.stores import kafka
from freshet.stores.fence import Progress

EXAMPLE = Path(__file__).parent / "featureset.yaml"
_ALL = sorted(os.sched_getaffinity(0))
MEASURED = {_ALL[0]}
"""The core of what is measured."""
OTHERS = {_ALL[-1]}
"""The core of servers and load."""


@contextmanager
def pinned(cores: set[int]) -> Iterator[None]:
    """Children started inside run on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Stack:
    """Kafka and Valkey with the topics of a manifest; services are started as they are needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.featureset: FeatureSet = load_featuresets([EXAMPLE])[0]
        with pinned(OTHERS):
            self.kafka = EmbeddedKafka(folder / "kafka").start()
            self.valkey = EmbeddedValkey(folder / "valkey").start()
        self.kafka_settings = KafkaSettings(bootstrap=self.kafka.bootstrap)
        kafka.ensure_topics(kafka.admin(self.kafka_settings), [self.featureset], "dead-letter-queue", replication=1)
        self._store = redis.Redis.from_url(self.valkey.url)
        self._children: list[subprocess.Popen[bytes]] = []

    def service(self, name: str, cores: set[int], **more: str) -> Service:
        """Starts `freshet <name>` and returns where it listens."""
        port, metrics_port = free_ports(2)
        environment: Mapping[str, str] = {
            **os.environ,
            "FRESHET_KAFKA": self.kafka.bootstrap,
            "FRESHET_REDIS": self.valkey.url,
            "FRESHET_MANIFESTS": str(EXAMPLE),
            "FRESHET_HOST": "127.0.0.1",
            "FRESHET_PORT": str(port),
            "FRESHET_METRICS_HOST": "127.0.0.1",
            "FRESHET_METRICS_PORT": str(metrics_port),
            **more,
        }
        log = self.folder / f"{name}.log"
        program = str(Path(sys.executable).with_name("freshet"))
        with pinned(cores):
            child = children.spawn([program, name], log, environment)
        self._children.append(child)
        service = Service(name, port, metrics_port, child, log)
        service.wait()
        return service

    def log_end(self) -> int:
        """Sum of the ends of the source topic's partitions."""
        source = self.featureset.source
        consumer = kafka.consumer(self.kafka_settings, "log-end")
        try:
            return sum(kafka.log_bounds(consumer, source.topic, p)[1] for p in range(source.partitions))
        finally:
            consumer.close()

    def stored(self) -> int:
        """Sum of the offsets up to which the partitions' states are in Valkey and their vectors acknowledged."""
        fs = self.featureset
        tags = [
            naming.tag(fs.namespace or "default", fs.name, fs.definition.revision, p)
            for p in range(fs.source.partitions)
        ]
        found: Any = self._store.mget([naming.progress_key(tag) for tag in tags])
        return sum(Progress.parse(value).offset for value in found if value is not None)

    def close(self) -> None:
        """Ends everything."""
        self._store.close()
        for child in self._children:
            children.stop(child, 10)
        self.valkey.kill()
        self.kafka.kill()


class Service:
    """One running service."""

    def __init__(self, name: str, port: int, metrics_port: int, child: subprocess.Popen[bytes], log: Path) -> None:
        self.name, self.port, self.metrics_port = name, port, metrics_port
        self._child, self._log = child, log

    def wait(self, seconds: float = 60) -> None:
        """Until it is ready. Raises RuntimeError with the end of its log."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self._child.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/ready", timeout=5):
                    return
            except OSError:
                time.sleep(0.1)
        raise RuntimeError(f"{self.name} did not become ready:\n{children.tail(self._log)}")

    def metric(self, name: str) -> float:
        """Sum of a metric's samples over all labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((name + "{", name + " ")))

    def stop(self) -> None:
        """Ends it gracefully."""
        children.stop(self._child, 15)


@contextmanager
def stack() -> Iterator[Stack]:
    """A stack in a temporary folder."""
    with TemporaryDirectory(prefix="freshet-bench-") as folder:
        running = Stack(Path(folder))
        try:
            yield running
        finally:
            running.close()
