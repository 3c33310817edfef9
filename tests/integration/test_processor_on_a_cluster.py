"""What the operator relies on: a topic that comes later, a process without partitions, the busy counter, namespaces."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from freshet.dev import children
from freshet.dev.ports import free_ports
from freshet.dev.servers import EmbeddedKafka, EmbeddedValkey
from freshet.runtime.settings import KafkaSettings
from freshet.spec import naming
from freshet.spec.load import parse_featureset
from freshet.stores import kafka as stores
from tests.fake_kubernetes import manifest
from tests.integration.ingest_service import MANIFEST
from tests.integration.live import eventually

pytestmark = pytest.mark.server


class Processors:
    """Processors of one FeatureSet, whose manifest is the JSON file that the operator mounts."""

    def __init__(self, folder: Path, kafka: EmbeddedKafka, valkey: EmbeddedValkey, text: str, namespace: str) -> None:
        self.file = folder / "featureset.json"
        self.file.write_text(json.dumps(manifest(text, namespace)))
        self.log = folder / "processors.log"
        self._servers = kafka, valkey
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self) -> str:
        """Another one; the URL of its metrics port."""
        (port,) = free_ports(1)
        kafka, valkey = self._servers
        environment = {
            **os.environ,
            "FRESHET_KAFKA": kafka.bootstrap,
            "FRESHET_REDIS": valkey.url,
            "FRESHET_MANIFESTS": str(self.file),
            "FRESHET_NAMESPACE": "not-this-one",
            "FRESHET_METRICS_HOST": "127.0.0.1",
            "FRESHET_METRICS_PORT": str(port),
        }
        self._running.append(children.spawn([sys.executable, "-m", "freshet", "processor"], self.log, environment))
        return f"http://127.0.0.1:{port}"

    def ready(self, url: str) -> tuple[int, dict[str, Any]]:
        """Status and details; (0, {}) while it does not listen."""
        try:
            answer = httpx.get(url + "/ready")
        except httpx.TransportError:
            assert all(one.poll() is None for one in self._running), children.tail(self.log)
            return 0, {}
        return answer.status_code, answer.json()

    def stop(self) -> list[int]:
        return [children.stop(one, 20) for one in self._running]


def counter(url: str, name: str) -> float:
    lines = httpx.get(url + "/metrics").text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name + "{"))


@pytest.fixture
def processors(
    tmp_path: Path, kafka: EmbeddedKafka, valkey: EmbeddedValkey, topic: str, namespace: str
) -> Iterator[Processors]:
    text = MANIFEST.format(topic=topic, name="activity", entity="user", key="user_id", required="false")
    found = Processors(tmp_path, kafka, valkey, text, namespace)
    try:
        yield found
    finally:
        found.stop()


def test_it_waits_for_its_topic_and_for_partitions(
    processors: Processors, kafka: EmbeddedKafka, valkey: EmbeddedValkey, topic: str, namespace: str
) -> None:
    url = processors.start()
    sentence = f"there is no topic {topic} yet: it is waited for"
    eventually(lambda: processors.ready(url)[1].get("problem") == sentence, "it says what it waits for", 30)
    assert processors.ready(url)[0] == 503
    assert httpx.get(url + "/health").status_code == 200
    featureset = parse_featureset(processors.file.read_text())
    settings = KafkaSettings(bootstrap=kafka.bootstrap)
    stores.ensure_topics(stores.admin(settings), [featureset], "dead-letter-queue", replication=1)
    eventually(lambda: processors.ready(url)[1].get("partitions") == [0, 1, 2], "it has all partitions", 30)
    eventually(lambda: processors.ready(url)[0] == 200, "it is ready", 5)

    producer = stores.producer(settings)
    for i in range(2000):
        value = {"user_id": f"u{i}", "timestamp": time.time_ns() // 1_000_000, "event_id": str(i)}
        producer.produce(topic, key=f"u{i}", value=json.dumps(value).encode())
    producer.flush()
    eventually(lambda: counter(url, "events_processed_total") == 2000, "all are processed", 30)
    revision = featureset.definition.revision
    with redis.Redis.from_url(valkey.url) as store:
        assert store.exists(naming.progress_key(naming.tag(namespace, "activity", revision, 0)))
        assert not store.exists(naming.progress_key(naming.tag("not-this-one", "activity", revision, 0)))
    eventually(lambda: counter(url, "processor_busy_seconds_total") > 0, "it was busy")
    before, began = counter(url, "processor_busy_seconds_total"), time.monotonic()
    time.sleep(2)
    share = (counter(url, "processor_busy_seconds_total") - before) / (time.monotonic() - began)
    assert 0 < share < 0.5, "it has nothing to do"

    more = [processors.start() for _ in range(3)]
    all_of_them = [url, *more]

    def settled() -> bool:
        found = [processors.ready(one) for one in all_of_them]
        partitions = sorted(p for _, details in found for p in details.get("partitions", []))
        return partitions == [0, 1, 2] and all(status == 200 for status, _ in found)

    eventually(settled, "four processes for three partitions are all ready", 60)
    assert min(len(processors.ready(one)[1]["partitions"]) for one in all_of_them) == 0
    assert processors.stop() == [0, 0, 0, 0]


def test_it_ends_while_it_waits(processors: Processors, unique: Callable[[str], str]) -> None:
    url = processors.start()
    eventually(lambda: "no topic" in str(processors.ready(url)[1].get("problem")), "it waits", 30)
    assert processors.stop() == [0]
