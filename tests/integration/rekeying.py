"""An origin under load, stages that re-key it as real processes, and what the copies have to be in the end."""

from __future__ import annotations

import json
import random
import subprocess
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, TopicPartition
from confluent_kafka.cimpl import NewTopic

from freshet.dev import children
from freshet.dev.servers import EmbeddedKafka
from freshet.runtime.settings import KafkaSettings
from freshet.spec.load import parse_featureset
from freshet.spec.naming import rekey_group
from freshet.spec.partitioning import partition_of
from freshet.stores import kafka
from tests.integration.services import Services

ORIGIN_PARTITIONS, PARTITIONS = 3, 4
MANIFEST = """
apiVersion: freshet.dev/v1alpha1
kind: FeatureSet
metadata: {{name: cards}}
spec:
  version: v1
  entity: {{name: card, key: card_id}}
  source:
    topic: {topic}
    partitions: 4
    replication: 1
    retention: 30d
    rekey: true
    fields:
      amount: {{type: double}}
  features:
    - {{name: n, aggregate: count, windows: [1h]}}
"""
Headers = list[tuple[str, bytes | None]]


class Copy(NamedTuple):
    """A record as it is copied."""

    key: bytes | None
    value: bytes
    headers: Headers


class Rig:
    """One re-keyed FeatureSet."""

    def __init__(self, folder: Path, server: EmbeddedKafka, unique: Callable[[str], str]) -> None:
        self.folder, self.kafka = folder, server
        self.manifest = folder / "featureset.yaml"
        self.manifest.write_text(MANIFEST.format(topic=unique("raw")))
        self.featureset = parse_featureset(self.manifest.read_text())
        self.origin, self.topic = self.featureset.source.intake, self.featureset.source.topic
        self.group = rekey_group(self.topic)
        self.settings = KafkaSettings(bootstrap=server.bootstrap)
        self.admin = kafka.admin(self.settings)
        self.make_origin()
        kafka.ensure_topics(self.admin, [self.featureset], unique("dead"), replication=1)
        self.producer = kafka.producer(self.settings)
        self._services = Services(folder / "stages.log", server.bootstrap)
        self.ports = self._services.ports

    def make_origin(self) -> None:
        """The origin as somebody else made it."""
        new = NewTopic(self.origin, num_partitions=ORIGIN_PARTITIONS, replication_factor=1)
        self.admin.create_topics([new], operation_timeout=30)[self.origin].result(30)

    def stage(self, module: str = "freshet", *arguments: str, **settings: str) -> subprocess.Popen[bytes]:
        """Starts a stage."""
        settings = {"FRESHET_MANIFESTS": str(self.manifest), **settings}
        return self._services.start(module, *(arguments or ("rekey",)), **settings)

    def log(self) -> Path:
        """Where the stages' output goes."""
        return self._services.log

    def close(self) -> None:
        """Ends all stages."""
        self._services.close()

    def send(self, key: str | None, value: bytes, headers: Headers | None = None) -> None:
        """Sends a record to the origin."""
        more: dict[str, Any] = {"headers": headers} if headers else {}
        while True:
            try:
                self.producer.produce(self.origin, value, key, **more)
                break
            except BufferError:
                self.producer.poll(0.1)
        self.producer.poll(0)

    def records(self, topic: str) -> list[list[Copy]]:
        """All committed records of a topic, partition by partition."""
        return [[copy for _, copy in part] for part in self.stamped(topic)]

    def stamped(self, topic: str) -> list[list[tuple[int, Copy]]]:
        """All committed records of a topic with their broker times."""
        consumer = kafka.consumer(self.settings, "read-back")
        count = ORIGIN_PARTITIONS if topic == self.origin else PARTITIONS
        starts = [kafka.log_bounds(consumer, topic, p)[0] for p in range(count)]
        consumer.assign([TopicPartition(topic, p, start) for p, start in enumerate(starts)])
        found: list[list[tuple[int, Copy]]] = [[] for _ in range(count)]
        ended: set[int] = set()
        while len(ended) < count:
            for message in consumer.consume(5000, 0.2):
                error, p = message.error(), message.partition() or 0
                if error is None:
                    headers: Any = message.headers() or []
                    key: Any = message.key()
                    found[p].append((message.timestamp()[1], Copy(key, message.value() or b"", headers)))
                elif error.code() == KafkaError._PARTITION_EOF:
                    ended.add(p)
        consumer.close()
        return found

    def wanted(self) -> list[list[Copy]]:
        """What has to be copied of each of the origin's partitions, in order, as Python's own JSON reads it."""
        return [[copy for one in part if (copy := mapped(one))] for part in self.records(self.origin)]

    def wait_copied(self, seconds: float = 60) -> None:
        """Until there are as many copies as there have to be."""
        wanted = sum(map(len, self.wanted()))
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            count = sum(map(len, self.records(self.topic)))
            if count >= wanted:
                return
            time.sleep(0.2)
        raise AssertionError(f"{count} of {wanted} copied:\n{children.tail(self.log(), 12)}")

    def assert_exact(self) -> None:
        """Every record that is to be copied is there once, where its key belongs, in the order of its partition."""
        wanted, found = self.wanted(), self.records(self.topic)
        expected: dict[tuple[int, int], list[Copy]] = defaultdict(list)
        home: dict[bytes, int] = {}
        for p, part in enumerate(wanted):
            for copy in part:
                assert copy.value not in home, "the test sends nothing twice"
                home[copy.value] = p
                place = p % PARTITIONS if copy.key is None else partition_of(copy.key.decode(), PARTITIONS, "murmur2")
                expected[p, place].append(copy)
        got: dict[tuple[int, int], list[Copy]] = defaultdict(list)
        for place, part in enumerate(found):
            for copy in part:
                got[home.get(copy.value, -1), place].append(copy)
        doubled = {value: n for value, n in Counter(c.value for part in found for c in part).items() if n > 1}
        lost = home.keys() - {copy.value for part in found for copy in part}
        assert (doubled, lost) == ({}, set())
        assert got == expected


def mapped(record: Copy) -> Copy | None:
    """What becomes of a record of the origin."""
    if any(name in ("freshet-control", "freshet-for") for name, _ in record.headers):
        return None
    try:
        event = json.loads(record.value)
    except ValueError:
        return record
    if not isinstance(event, dict):
        return record
    card = event.get("card_id")
    if card is None:
        return None
    if isinstance(card, bool) or not isinstance(card, (str, int)) or card == "":
        return record
    return record._replace(key=str(card).encode())


class Load(threading.Thread):
    """Events at a steady rate until stopped; some have no card, some are broken, some have headers or marks."""

    def __init__(self, rig: Rig, rate: float, seed: int) -> None:
        super().__init__(daemon=True)
        self._rig, self._rate, self._rng = rig, rate, random.Random(seed)
        self._halt = threading.Event()
        self.sent = 0

    def run(self) -> None:
        begin = time.monotonic()
        while not self._halt.is_set():
            self._send()
            self.sent += 1
            ahead = begin + self.sent / self._rate - time.monotonic()
            if ahead > 0.005:
                self._halt.wait(ahead)

    def stop(self) -> None:
        """No more events; all are acknowledged when this returns."""
        self._halt.set()
        self.join()
        assert self._rig.producer.flush(60) == 0

    def _send(self) -> None:
        rng = self._rng
        user = f"user_{rng.randrange(50)}"
        event: dict[str, Any] = {"n": self.sent, "user_id": user, "timestamp": time.time_ns() // 1_000_000}
        draw = rng.random()
        if draw < 0.8:
            event["card_id"] = rng.choice([rng.randrange(200), f"card_{rng.randrange(200)}"])
        elif draw < 0.84:
            event["card_id"] = rng.choice([None, True, 1.5, "", ["x"]])
        headers: Headers = []
        if draw < 0.05:
            headers = [("traceparent", b"00-1"), ("empty", None)]
        elif draw < 0.06:
            headers = [("freshet-for", b"n/f/0123456789")]
        value = json.dumps(event).encode()
        if draw > 0.99:
            value = rng.choice([b"{broken %d", b"%d", b"[%d]", b'{"card_id": "\xff%d"}']) % self.sent
        self._rig.send(None if draw > 0.995 else user, value, headers)
