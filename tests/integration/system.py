"""A source topic under load, processors as real processes, and what SQL says of the log in the end."""

from __future__ import annotations

import json
import random
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import redis
from confluent_kafka import TopicPartition

from freshet.dev import children
from freshet.dev.kafka_cluster import EmbeddedKafkaCluster
from freshet.dev.oracle.compare import differences, report
from freshet.dev.oracle.log import Log, Record, log_of
from freshet.dev.oracle.run import Oracle, Reads
from freshet.dev.servers import EmbeddedKafka, EmbeddedValkey
from freshet.engine.column import Column, Ints
from freshet.engine.reader import Reader
from freshet.engine.vectors import feature_rows
from freshet.runtime.settings import KafkaSettings
from freshet.spec import naming
from freshet.spec.definition import FeatureSet
from freshet.spec.load import parse_featureset
from freshet.spec.partitioning import partition_of
from freshet.stores import kafka
from freshet.stores.fence import Progress
from tests.integration.services import Services

Row = tuple[int, int, bytes]
"""Offset, broker time in ms, value."""
PARTITIONS = 4
USERS = 300
_MANIFEST = """
apiVersion: freshet.dev/v1alpha1
kind: FeatureSet
metadata: {{name: faults}}
spec:
  version: v1
  entity: {{name: user, key: user_id}}
  source:
    topic: {topic}
    partitions: 4
    replication: 1
    retention: 30d
    deduplicate: 2m
    fields:
      kind: {{type: string, required: true}}
      amount: {{type: double}}
  features:
    - {{name: n, aggregate: count, windows: [1m, 1h, 7d]}}
    - {{name: bought, aggregate: sum, of: amount, where: "kind = 'purchase'", windows: [1m, 1h, 7d]}}
    - {{name: mean, aggregate: mean, of: amount, windows: [1h]}}
    - {{name: spread, aggregate: stddev, of: amount, windows: [7d]}}
    - {{name: highest, aggregate: max, of: amount, windows: [1h]}}
    - {{name: ever, aggregate: count}}
    - {{name: newest, aggregate: last, of: amount}}
    - {{name: sessions, aggregate: session_count, gap: 2s}}
    - {{name: idle, aggregate: time_since_last}}
    - {{name: per_event, expression: "bought_7d / nullif(n_7d, 0)"}}
  output: {{topic: {output}, every: 200ms}}
"""


class Load(threading.Thread):
    """Events at a steady rate, with duplicates, late and malformed ones, until stopped."""

    def __init__(self, system: System, rate: float, seed: int) -> None:
        super().__init__(daemon=True)
        self._system = system
        self._rate = rate
        self._rng = random.Random(seed)
        self._halt = threading.Event()
        self.sent = 0

    def run(self) -> None:
        begin = time.monotonic()
        recent: list[dict[str, Any]] = []
        while not self._halt.is_set():
            event = self._event()
            if recent and self._rng.random() < 0.05:
                event = self._rng.choice(recent)
            recent = [*recent[-200:], event]
            self._system.send(event)
            self.sent += 1
            if self._rng.random() < 0.002:
                self._system.send_bytes(event["user_id"], b"{broken")
            ahead = begin + self.sent / self._rate - time.monotonic()
            if ahead > 0.005:
                self._halt.wait(ahead)

    def stop(self) -> None:
        """No more events; all are acknowledged when this returns."""
        self._halt.set()
        self.join()
        self._system.producer.flush()

    def _event(self) -> dict[str, Any]:
        rng = self._rng
        late = rng.choice([0, 0, 0, 0, rng.randrange(5_000), rng.randrange(3_600_000), rng.randrange(10 * 86_400_000)])
        kind = rng.choice(["view", "view", "purchase"])
        return {
            "event_id": f"e{self.sent}",
            "user_id": f"user_{int(rng.paretovariate(0.7)) % USERS}",
            "timestamp": time.time_ns() // 1_000_000 - late,
            "kind": kind,
            "amount": round(rng.lognormvariate(2, 1), 2) if kind == "purchase" or rng.random() < 0.3 else None,
        }


class System:
    """One FeatureSet on real servers."""

    def __init__(
        self,
        folder: Path,
        servers: tuple[EmbeddedKafka | EmbeddedKafkaCluster, EmbeddedValkey],
        namespace: str,
        unique: Callable[[str], str],
        *,
        postgres: str = "",
        replication: int = 1,
    ) -> None:
        self._postgres = postgres
        self.folder, self.namespace = folder, namespace
        self.kafka, self.valkey = servers
        text = _MANIFEST.format(topic=unique("events"), output=unique("vectors"))
        self.manifest = folder / "featureset.yaml"
        self.manifest.write_text(text)
        self.featureset: FeatureSet = parse_featureset(text)
        self.settings = KafkaSettings(bootstrap=self.kafka.bootstrap)
        self.dead_letters = unique("dead")
        kafka.ensure_topics(kafka.admin(self.settings), [self.featureset], self.dead_letters, replication=replication)
        self.producer = kafka.producer(self.settings)
        self.acknowledged: Callable[[Any, Any], None] = lambda *_: None
        """Told of every record that Kafka has, or refuses."""
        self._services = Services(folder / "processors.log", self.kafka.bootstrap)

    def send(self, event: dict[str, Any]) -> None:
        """Sends one event, keyed by its entity."""
        self.send_bytes(event["user_id"], json.dumps(event).encode())

    def send_bytes(self, key: str, value: bytes) -> None:
        """Sends any value."""
        self.producer.produce(self.featureset.source.topic, key=key, value=value, on_delivery=self.acknowledged)
        self.producer.poll(0)

    def processor(
        self, *, dies_before_script: int = 0, clock_off_seconds: int = 0, **settings: str
    ) -> subprocess.Popen[bytes]:
        """Starts a processor; with `dies_before_script` it kills itself just before it would send that script.

        With `clock_off_seconds` its clock is off by so much, and SIGUSR1 makes that the other way round.
        """
        if clock_off_seconds:
            return self.start("tests.integration.wrong_clock", str(clock_off_seconds), "processor", **settings)
        return self.start("tests.integration.dying_processor", str(dies_before_script), **settings)

    def recorder(self, **settings: str) -> subprocess.Popen[bytes]:
        """Starts a recorder."""
        return self.start("freshet", "recorder", **settings)

    def start(self, module: str, *arguments: str, **settings: str) -> subprocess.Popen[bytes]:
        """Starts any service."""
        common = {
            "FRESHET_REDIS": self.valkey.url,
            "FRESHET_MANIFESTS": str(self.manifest),
            "FRESHET_NAMESPACE": self.namespace,
            "FRESHET_DEAD_LETTER_TOPIC": self.dead_letters,
            "FRESHET_POSTGRES": self._postgres,
        }
        return self._services.start(module, *arguments, **{**common, **settings})

    def log(self) -> Path:
        """Where the processors' output goes."""
        return self._services.log

    def close(self) -> None:
        """Ends all processors."""
        self._services.close()

    def progress(self) -> list[Progress | None]:
        """What the store says of each partition; None for each while it does not answer."""
        try:
            with redis.Redis.from_url(self.valkey.url) as store:
                stored = store.mget([naming.progress_key(self.tag(p)) for p in range(PARTITIONS)])
        except redis.RedisError:
            return [None] * PARTITIONS
        return [None if data is None else Progress.parse(data) for data in stored]

    def tag(self, partition: int) -> str:
        """Of the keys of a partition."""
        return naming.tag(self.namespace, self.featureset.name, self.featureset.definition.revision, partition)

    def wait_processed(self, seconds: float = 60) -> None:
        """Until progress of every partition is at the log's end and complete."""
        ends = self.ends()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            now = self.progress()
            if all(p is not None and p.complete and p.offset >= end for p, end in zip(now, ends, strict=True)):
                return
            time.sleep(0.1)
        raise AssertionError(f"log ends {ends}, progress {self.progress()}:\n{children.tail(self.log(), 40)}")

    def ends(self) -> list[int]:
        """Ends of the source's partitions."""
        consumer = kafka.consumer(self.settings, "ends")
        try:
            return [kafka.log_bounds(consumer, self.featureset.source.topic, p)[1] for p in range(PARTITIONS)]
        finally:
            consumer.close()

    def rows(self) -> list[list[Row]]:
        """The whole source topic, read back from Kafka, partition by partition."""
        return [self._read(self.featureset.source.topic, p, end) for p, end in enumerate(self.ends())]

    def logs(self, rows: list[list[Row]] | None = None) -> list[Log]:
        """The source topic, or `rows` of it, as the oracle takes it."""
        return [log_of([_record(row) for row in part], self.featureset.definition) for part in rows or self.rows()]

    def vectors(self) -> list[dict[str, Any]]:
        """Everything in the output topic."""
        assert self.featureset.output_topic
        consumer = kafka.consumer(self.settings, "vectors-ends")
        ends = [kafka.log_bounds(consumer, self.featureset.output_topic, p)[1] for p in range(PARTITIONS)]
        consumer.close()
        rows = [row for p, end in enumerate(ends) for row in self._read(self.featureset.output_topic, p, end)]
        return [json.loads(row[2]) for row in rows]

    def _read(self, topic: str, partition: int, end: int) -> list[Row]:
        consumer = kafka.consumer(self.settings, "read-back")
        start, _ = kafka.log_bounds(consumer, topic, partition)
        if start == end:
            consumer.close()
            return []
        consumer.assign([TopicPartition(topic, partition, start)])
        rows: list[Row] = []
        while not rows or rows[-1][0] < end - 1:
            if end == 0:
                break
            good = [m for m in consumer.consume(5000, 0.5) if m.error() is None]
            rows.extend((m.offset() or 0, m.timestamp()[1], m.value() or b"") for m in good)
        consumer.close()
        return rows

    def value(self, key: str, feature: str) -> object:
        """One online value of an entity, now."""
        definition = self.featureset.definition
        p = partition_of(key, PARTITIONS, self.featureset.source.partitioner)
        with redis.Redis.from_url(self.valkey.url) as store:
            blob: Any = store.get(naming.entity_key(self.tag(p), key))
        vectors = Reader(definition).read([key], [blob], time.time_ns() // 1_000_000)
        return feature_rows(vectors, definition)[0][feature]

    def assert_exact(self, logs: list[Log]) -> None:
        """Every online value, now and at times to come, equals what SQL says of the log."""
        definition = self.featureset.definition
        reader = Reader(definition)
        with redis.Redis.from_url(self.valkey.url) as store, Oracle(definition) as oracle:
            for p, log in enumerate(logs):
                keys = [*sorted(set(log.keys) - {""}), "nobody"]
                blobs: Any = store.mget([naming.entity_key(self.tag(p), key) for key in keys])
                now = time.time_ns() // 1_000_000
                for at in (now, now + 45_000, now + 3_500_000):
                    reads = Reads(keys, _full(len(keys), log.end), _full(len(keys), at))
                    got = reader.read(keys, blobs, at)
                    found = differences(oracle, reads, oracle.values(log, reads), got.columns, got.q_ms)
                    assert not found, f"partition {p}, read at {at}:\n{report(found)}"

    def assert_vectors_exact(self, logs: list[Log]) -> None:
        """Every vector equals SQL at its own offset and time; every entity's newest one holds all of its events."""
        definition = self.featureset.definition
        newest: dict[str, int] = {}
        parts: dict[int, list[dict[str, Any]]] = {}
        for vector in self.vectors():
            parts.setdefault(vector["partition"], []).append(vector)
            newest[vector["user_id"]] = max(newest.get(vector["user_id"], 0), vector["offset"])
        with Oracle(definition) as oracle:
            for p, vectors in parts.items():
                keys = [v["user_id"] for v in vectors]
                as_of = np.array([v["as_of"] for v in vectors], np.int64)
                reads = Reads(keys, np.array([v["offset"] for v in vectors], np.int64), as_of)
                columns = {f.name: _served([v["features"][f.name] for v in vectors]) for f in definition.features}
                found = differences(oracle, reads, oracle.values(logs[p], reads), columns, as_of)
                assert not found, f"vectors of partition {p}:\n{report(found)}"
        for log in logs:
            for i in np.flatnonzero(log.accepted(definition)).tolist():
                assert newest[log.keys[i]] > log.offset[i], f"{log.keys[i]}: offset {log.offset[i]} is in no vector"


def _full(size: int, value: int) -> Ints:
    return np.full(size, value, np.int64)


def _served(values: list[Any]) -> Column:
    """Values of a vector's JSON as a column."""
    valid = np.array([v is not None for v in values], np.bool_)
    return Column(np.array([0.0 if v is None else float(v) for v in values]), valid)


def _record(row: tuple[int, int, bytes]) -> Record:
    offset, broker_ms, value = row
    try:
        event = json.loads(value)
    except ValueError:
        return Record(offset, broker_ms, 0, "", malformed=True)
    fields = {"kind": event["kind"], "amount": event["amount"]}
    return Record(offset, broker_ms, event["timestamp"], event["user_id"], event["event_id"], fields)
