"""A FeatureSet with processors, a recorder and everything that administers them, and what SQL says of its log."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import psycopg
import redis
from confluent_kafka import TopicPartition
from typer.testing import CliRunner

from freshet.cli import app
from freshet.dev import children
from freshet.dev.oracle.log import Log
from freshet.dev.ports import free_ports
from freshet.dev.topic_log import log_of_records, read_topic
from freshet.spec.load import parse_featureset
from freshet.spec.partitioning import partition_of
from freshet.stores import kafka
from tests.integration.system import PARTITIONS, System

TOKEN = "a-token-of-these-tests"
_ROOT = Path(__file__).parent.parent.parent


class Administered(System):
    """A System with history."""

    database: str
    port = 0

    def administration(self, **more: str) -> None:
        """Starts a recorder with its administration."""
        (self.port,) = free_ports(1)
        self.recorder(FRESHET_ADMIN_PORT=str(self.port), FRESHET_ADMIN_TOKEN=TOKEN, **more)

    def settings_of_commands(self) -> dict[str, str]:
        """Of `freshet dlq` and `freshet erase`."""
        return {
            "FRESHET_KAFKA": self.kafka.bootstrap,
            "FRESHET_POSTGRES": self.database,
            "FRESHET_REDIS": self.valkey.url,
            "FRESHET_MANIFESTS": str(self.manifest),
            "FRESHET_NAMESPACE": self.namespace,
            "FRESHET_DEAD_LETTER_TOPIC": self.dead_letters,
        }

    def run(self, *command: str) -> tuple[int, str]:
        """Runs a command; gives its exit code and output."""
        result = CliRunner().invoke(app, list(command), env=self.settings_of_commands())
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.output

    def json(self, *command: str) -> Any:
        """What a command answers with `--output json`."""
        _, output = self.run(*command, "--output", "json")
        return json.loads(output)

    def http(self, method: str, path: str, body: Any = None, token: str | None = TOKEN) -> tuple[int, Any]:
        """Asks the administration port; gives status and answer."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def query(self, text: str, *values: Any) -> list[Any]:
        """Rows of a query."""
        with psycopg.connect(self.database, options="-c search_path=freshet -c timezone=UTC") as connection:
            cursor = connection.execute(text.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def wait(self, query: str, *values: Any, seconds: float = 60) -> None:
        """Until a query gives true."""
        deadline = time.monotonic() + seconds
        found: Any = None
        while time.monotonic() < deadline:
            try:
                found = self.query(query, *values)
                if found and found[0][0]:
                    return
            except psycopg.Error as error:
                found = error
            time.sleep(0.1)
        raise AssertionError(f"{query} {values}: {found}\n{children.tail(self.log(), 30)}")

    def wait_letters(self, count: int) -> None:
        """Until so many letters are in history."""
        self.wait("SELECT count(*) >= %s FROM dead_letters", count)

    def wait_recorded(self) -> None:
        """Until the source topic is in history."""
        for p, end in enumerate(self.ends()):
            if end:
                topic = self.featureset.source.topic
                self.wait(
                    "SELECT max(next_offset) >= %s FROM recorded WHERE topic = %s AND partition = %s", end, topic, p
                )

    def use(self, old: str, new: str) -> None:
        """Changes the manifest, and so the revision."""
        text = self.manifest.read_text()
        assert old in text
        self.manifest = self.folder / "changed.yaml"
        self.manifest.write_text(text.replace(old, new))
        self.featureset = parse_featureset(self.manifest.read_text())

    def read_logs(self) -> list[Log]:
        """The source topic as the present revision reads it, taken apart by SQL."""
        raw = read_topic(self.settings, self.featureset.source.topic)
        logs = []
        with duckdb.connect(config={"threads": 1}) as database:
            database.execute("SET TimeZone = 'UTC'")
            for p in range(PARTITIONS):
                records = [record.as_read_by(self.featureset) for record in raw[p]]
                log = log_of_records(records, self.featureset.definition, database)
                lost = np.array([self.home(key) != p for key in log.keys], np.bool_)
                logs.append(replace(log, malformed=log.malformed | lost))
        return logs

    def truncate(self) -> None:
        """Makes Kafka forget all of the source topic."""
        topic = self.featureset.source.topic
        asked = [TopicPartition(topic, p, end) for p, end in enumerate(self.ends())]
        client = kafka.admin(self.settings)  # its calls end with it
        for future in client.delete_records(asked).values():
            future.result(30)

    def flush_store(self) -> None:
        """Loses everything that is online."""
        with redis.Redis.from_url(self.valkey.url) as store:
            store.flushall()

    def home(self, key: str) -> int:
        """The partition of an entity."""
        return partition_of(key, PARTITIONS, self.featureset.source.partitioner)
