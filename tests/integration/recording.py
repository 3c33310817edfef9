"""Topics with known records, recorders as real processes, and what history holds in the end."""

from __future__ import annotations

import json
import random
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

from freshet.dev import children
from freshet.dev.oracle.log import log_of
from freshet.dev.servers import EmbeddedKafka
from freshet.dev.topic_log import Raw, read_topic
from freshet.runtime.settings import KafkaSettings
from freshet.spec.definition import FeatureSet
from freshet.spec.load import parse_featureset
from freshet.stores import kafka
from tests.integration.services import Services
from tests.integration.system import _record

PARTITIONS = 4
_MANIFEST = """
apiVersion: freshet.dev/v1alpha1
kind: FeatureSet
metadata: {{name: {name}}}
spec:
  version: v1
  entity: {{name: user, key: user_id}}
  source:
    topic: {topic}
    partitions: {partitions}
    replication: 1
    retention: 30d
    deduplicate: 2m
    fields:
      kind: {{type: string, required: true}}
      amount: {{type: double}}
  features:
    - {{name: n, aggregate: count, windows: [1h]}}
  output: {{topic: {output}}}
"""


class Recording:
    """One FeatureSet's topics, and a database to record them in."""

    def __init__(
        self,
        folder: Path,
        servers: tuple[EmbeddedKafka, str],
        namespace: str,
        unique: Callable[[str], str],
        partitions: int = PARTITIONS,
    ) -> None:
        self.folder, self.namespace, self.partitions = folder, namespace, partitions
        self.kafka, self.url = servers
        self.settings = KafkaSettings(bootstrap=self.kafka.bootstrap)
        self.topic, self.output = unique("events"), unique("vectors")
        self.dead_letters = unique("dead")
        text = _MANIFEST.format(name="recorded", topic=self.topic, output=self.output, partitions=partitions)
        self.manifest = folder / "featureset.yaml"
        self.manifest.write_text(text)
        self.featureset: FeatureSet = parse_featureset(text)
        self.make_topics()
        self.producer = kafka.producer(self.settings)
        self.sent = 0
        self._services = Services(folder / "recorders.log", self.kafka.bootstrap)

    def make_topics(self) -> None:
        """Those that are missing."""
        kafka.ensure_topics(kafka.admin(self.settings), [self.featureset], self.dead_letters, replication=1)

    def send(self, count: int, seed: int = 1) -> None:
        """Events with duplicates, late, malformed and missing ones; acknowledged when this returns."""
        rng = random.Random(seed + self.sent)
        for _ in range(count):
            number = self.sent if rng.random() > 0.05 else rng.randrange(max(1, self.sent - 50), self.sent + 1)
            user = f"user_{number % 97}"
            late = rng.choice([0, 0, 0, rng.randrange(3_600_000)])
            event: dict[str, Any] = {
                "event_id": f"e{number}",
                "user_id": user,
                "timestamp": time.time_ns() // 1_000_000 - late,
                "kind": "view",
                "amount": rng.choice([None, 1.5, 'quote " and € and \\']) if rng.random() < 0.02 else 2.5,
            }
            value = b"{broken" if rng.random() < 0.01 else json.dumps(event).encode()
            self.producer.produce(self.topic, key=user, value=value)
            self.producer.poll(0)
            self.sent += 1
        self.producer.flush()

    def recorder(
        self, *, dies_before_commit: int = 0, clock_off_seconds: int = 0, **more: str
    ) -> subprocess.Popen[bytes]:
        """Starts a recorder; with `dies_before_commit` it kills itself just before that transaction's commit.

        With `clock_off_seconds` its clock is off by so much, and SIGUSR1 makes that the other way round.
        """
        common = {
            "FRESHET_POSTGRES": self.url,
            "FRESHET_MANIFESTS": str(self.manifest),
            "FRESHET_NAMESPACE": self.namespace,
            "FRESHET_DEAD_LETTER_TOPIC": self.dead_letters,
        }
        arguments: tuple[str, ...] = ("tests.integration.dying_recorder", str(dies_before_commit))
        if clock_off_seconds:
            arguments = ("tests.integration.wrong_clock", str(clock_off_seconds), "recorder")
        return self._services.start(*arguments, **{**common, **more})

    def log(self) -> Path:
        """Where the recorders' output goes."""
        return self._services.log

    def close(self) -> None:
        """Ends all recorders."""
        self._services.close()

    def ready(self, process: subprocess.Popen[bytes]) -> dict[str, Any]:
        """What a recorder says of itself; empty while it does not answer."""
        port = self._services.ports[process.pid]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=2) as answer:
                return dict(json.load(answer))
        except urllib.error.HTTPError as error:
            return dict(json.load(error))
        except OSError:
            return {}

    def metric(self, process: subprocess.Popen[bytes], name: str) -> float:
        """Sum of a metric's samples."""
        port = self._services.ports[process.pid]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((name + "{", name + " ")))

    def ends(self, topic: str) -> dict[int, int]:
        """Ends of a topic's partitions."""
        places = [(topic, p) for p in range(self.partitions)]
        client = kafka.admin(self.settings)
        for _ in range(100):  # a topic that was just made has no leaders for a moment
            found = kafka.many_log_bounds(client, places)
            ends = {place[1]: bounds[1] for place, bounds in found.items() if not isinstance(bounds, Exception)}
            if len(ends) == self.partitions:
                return ends
            time.sleep(0.1)
        raise AssertionError(f"the topic {topic} has no leaders: {found}")

    def wait_recorded(self, topic: str | None = None, seconds: float = 60) -> None:
        """Until the database is at the log's end."""
        ends = {p: end for p, end in self.ends(topic or self.topic).items() if end}
        deadline = time.monotonic() + seconds
        found: dict[int, int] = {}
        while time.monotonic() < deadline:
            try:
                found = self.offsets(topic or self.topic)
                if all(found.get(p, -1) >= end for p, end in ends.items()):
                    return
            except (psycopg.Error, OSError):
                pass
            time.sleep(0.1)
        raise AssertionError(f"log ends {ends}, recorded {found}:\n{children.tail(self.log(), 40)}")

    def offsets(self, topic: str) -> dict[int, int]:
        """`next_offset` by partition, of the topic of this name that was seen last."""
        rows = self.query(
            "SELECT DISTINCT ON (partition) partition, next_offset FROM recorded WHERE topic = %s "
            "ORDER BY partition, updated_at DESC",
            topic,
        )
        return {row[0]: row[1] for row in rows}

    def query(self, text: str, *values: Any) -> list[Any]:
        """Rows of a query."""
        with psycopg.connect(self.url, options="-c search_path=freshet -c timezone=UTC") as connection:
            return connection.execute(text.encode(), values).fetchall()

    def assert_recorded(self) -> None:
        """event_log holds each record of the topic once, with what an independent reader says of it."""
        rows = self.query(
            'SELECT partition, "offset", (extract(epoch FROM broker_time) * 1000)::bigint, status, entity, event_id, '
            "(extract(epoch FROM event_time) * 1000)::bigint, payload::text FROM event_log WHERE topic = %s "
            'ORDER BY partition, "offset"',
            self.topic,
        )
        expected: list[Any] = []
        for p, raw in sorted(read_topic(self.settings, self.topic).items()):
            expected += self._expected(p, raw)
        assert len(rows) == len(expected), f"{len(rows)} rows, {len(expected)} records"
        for row, wanted in zip(rows, expected, strict=True):
            assert row == wanted

    def _expected(self, partition: int, raw: list[Raw]) -> list[Any]:
        log = log_of([_tolerant(one) for one in raw], self.featureset.definition)
        valid, accepted = log.valid(self.featureset.definition), log.accepted(self.featureset.definition)
        out: list[Any] = []
        for i, one in enumerate(raw):
            place = (partition, one.offset, one.broker_ms)
            if not valid[i]:
                out.append((*place, 2, None, None, None, None))
            else:
                status = 0 if accepted[i] else 1
                t = int(log.clamped()[i])
                out.append((*place, status, log.keys[i], log.event_ids[i], t, one.value.decode()))
        return out


def _tolerant(raw: Raw) -> Any:
    record = _record((raw.offset, raw.broker_ms, raw.value))
    amount = record.fields.get("amount")
    return record._replace(malformed=True, fields={}) if isinstance(amount, str) else record
