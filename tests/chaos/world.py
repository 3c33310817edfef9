"""The whole system of one round: topics and services of its own on servers that rounds share."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Protocol

import psycopg
import redis

from freshet.dev import children
from freshet.dev.kafka_cluster import EmbeddedKafkaCluster
from freshet.dev.servers import EmbeddedPostgres
from freshet.runtime.settings import KafkaSettings
from freshet.spec import naming
from freshet.spec.definition import FeatureSet
from freshet.spec.load import parse_featureset
from freshet.spec.partitioning import partition_of
from freshet.stores import kafka
from freshet.stores.fence import Progress
from freshet.stores.redis import Client, Failures, connect, execute
from tests.chaos.manifests import LENIENT, PARTITIONS, STRICT
from tests.chaos.processes import Process
from tests.chaos.proxy import Network, Proxy

PROCESSORS = 2
RECORDERS = 2
INGESTS = 2
_PROGRAMS = {"processor": "tests.chaos.processor", "recorder": "tests.integration.dying_recorder"}
_MEMBERS = ("processor", "recorder")
"""Services that share partitions in a consumer group."""
_CLIENT = "session.timeout.ms=6000\n"


class Store(Protocol):
    """What a round needs of a store; faults know which one they are for."""

    kind: str

    @property
    def url(self) -> str:
        """Where services find it."""

    def start(self) -> None:
        """Starts all of it."""

    def stop(self) -> None:
        """Ends all of it."""

    def clear(self) -> None:
        """Removes all keys."""


class History(Protocol):
    """What a round needs of the history database."""

    server: EmbeddedPostgres
    proxy: Proxy

    def create(self, database: str) -> str:
        """Makes an empty database; the URL by which services reach it."""

    def query(self, database: str, text: str, *values: Any) -> list[Any]:
        """Rows of a query."""

    def copies(self, database: str) -> bool:
        """Whether somebody writes rows at this very moment."""


class Servers:
    """Kafka behind its proxies, for all rounds."""

    def __init__(self, folder: Path) -> None:
        self.network = Network()
        self.brokers: list[Proxy] = [self.network.proxy(0) for _ in range(3)]
        self.kafka = EmbeddedKafkaCluster(folder / "kafka", advertised=[proxy.port for proxy in self.brokers])
        for proxy, node in zip(self.brokers, self.kafka.nodes, strict=True):
            proxy.target = node.port

    def start(self) -> None:
        """Starts all."""
        self.kafka.start()

    def stop(self) -> None:
        """Ends all."""
        self.kafka.stop()
        self.network.close()


class World:
    """What faults are applied to. Belongs to the thread that made it."""

    def __init__(self, folder: Path, servers: Servers, store: Store, history: History, number: int) -> None:
        folder.mkdir(parents=True)
        self.folder, self.servers, self.store, self.history = folder, servers, store, history
        self.database = f"round{number}"
        self._postgres = history.create(self.database)
        self._made: list[Process] = []
        self.namespace = f"round{number}"
        names = {"topic": f"events-{number}", "output": f"vectors-{number}"}
        self._files = [folder / "strict.yaml", folder / "lenient.yaml"]
        for file, text in zip(self._files, (STRICT, LENIENT), strict=True):
            file.write_text(text.format(**names))
        self.featureset: FeatureSet = parse_featureset(self._files[0].read_text())
        self.dead_letters = f"dead-{number}"
        self.settings = KafkaSettings(bootstrap=servers.kafka.bootstrap)
        self.processors = [self.process(f"processor-{i + 1}", "processor") for i in range(PROCESSORS)]
        self.ingests = [self.process(f"ingest-{i + 1}", "ingest") for i in range(INGESTS)]
        self.recorders = [self.process(f"recorder-{i + 1}", "recorder") for i in range(RECORDERS)]
        self.serving = self.process("serving", "serving")
        self.deaths: list[str] = []
        """Services that ended without a fault that wanted it."""

    def process(self, name: str, command: str) -> Process:
        """A service of this round, not started. Processors are the ones that can die before a script."""
        (self.folder / "client.properties").write_text(_CLIENT)
        files = self._files[:1] if command != "ingest" else self._files
        environment = {
            "FRESHET_KAFKA": self.settings.bootstrap,
            "FRESHET_KAFKA_CONFIG": str(self.folder / "client.properties") if command in _MEMBERS else "",
            "FRESHET_REDIS": self.store.url,
            "FRESHET_POSTGRES": self._postgres if command != "ingest" else "",
            "FRESHET_CHECKPOINT_SECONDS": "4" if command == "recorder" else "",
            "FRESHET_MANIFESTS": ",".join(map(str, files)),
            "FRESHET_NAMESPACE": self.namespace,
            "FRESHET_DEAD_LETTER_TOPIC": self.dead_letters,
            "FRESHET_COALESCE_MS": "100" if command == "processor" else "",
            "FRESHET_ACKNOWLEDGE_TIMEOUT_MS": "6000" if command == "ingest" else "",
        }
        program = [_PROGRAMS[command]] if command in _PROGRAMS else ["freshet", command]
        made = Process(name, program, self.folder / f"{name}.log", environment)
        self._made.append(made)
        return made

    def start(self) -> None:
        """Starts all and waits until they are ready."""
        kafka.ensure_topics(kafka.admin(self.settings), [self.featureset], self.dead_letters)
        for process in self.services():
            process.start()
        for process in self.services():
            process.wait()

    def services(self) -> list[Process]:
        """All that are to run."""
        return [*self.ingests, *self.processors, *self.recorders, self.serving]

    def tend(self) -> None:
        """Starts what has died, as a cluster would; a death that no fault wanted is noted."""
        for process in self.services():
            if not process.alive and not process.fated:
                log = children.tail(process.log, 30)
                self.deaths.append(f"{process.name} ended by itself with {process.code}:\n{log}")
                process.restarts += 1
                process.start()

    def close(self) -> None:
        """Ends all services of the round and removes what they left."""
        for process in self._made:  # those of a fault that broke off too
            process.kill()
        self.store.clear()
        topics = [self.featureset.source.topic, str(self.featureset.output_topic), self.dead_letters]
        kafka.admin(self.settings).delete_topics(topics)

    def connect(self) -> Client:
        """A client of the store."""
        return connect(self.store.url)

    def tag(self, partition: int) -> str:
        """Of the keys of a partition."""
        return naming.tag(self.namespace, self.featureset.name, self.featureset.definition.revision, partition)

    def progress(self) -> list[Progress | None]:
        """What the store says of each partition; None for each while it does not answer."""
        try:
            with self.connect() as store:
                found = [execute(store, "GET", naming.progress_key(self.tag(p))) for p in range(PARTITIONS)]
        except (*Failures, redis.RedisError):
            return [None] * PARTITIONS
        return [None if data is None else Progress.parse(data) for data in found]

    def offset_of(self, user: str) -> int | None:
        """Where progress of a user's partition is; None if the store does not tell."""
        found = self.progress()[partition_of(user, PARTITIONS, "murmur2")]
        return None if found is None else found.offset

    def ends(self, topic: str) -> list[int]:
        """Ends of a topic's partitions."""
        consumer = kafka.consumer(self.settings, "chaos-ends")
        try:
            return [kafka.log_bounds(consumer, topic, p)[1] for p in range(PARTITIONS)]
        finally:
            consumer.close()

    @property
    def owner(self) -> str:
        """The revision, as dead letters and checkpoints name it."""
        return naming.owner(self.namespace, self.featureset.name, self.featureset.definition.revision)

    def rows(self, text: str, *values: Any) -> list[Any]:
        """Rows of the round's history."""
        return self.history.query(self.database, text, *values)

    def wait_recorded(self, seconds: float) -> None:
        """Until history has all topics up to their ends, no erasure waits, and each partition has a checkpoint."""
        topics = [self.featureset.source.topic, str(self.featureset.output_topic), self.dead_letters]
        ends = {(topic, p): end for topic in topics for p, end in enumerate(self.ends(topic)) if end}
        deadline = time.monotonic() + seconds
        while True:
            try:
                found = {row[:2]: row[2] for row in self.rows("SELECT topic, partition, next_offset FROM recorded")}
                ((checkpoints,),) = self.rows("SELECT count(*) FROM checkpoints")
                ((erasures,),) = self.rows("SELECT count(*) FROM erasures WHERE applied_at IS NULL")
            except psycopg.Error:
                found, checkpoints, erasures = {}, 0, 0
            recorded = all(found.get(place, -1) >= end for place, end in ends.items())
            if recorded and checkpoints >= PARTITIONS and not erasures:
                return
            self.tend()
            if time.monotonic() > deadline:
                tails = "\n".join(f"{one.name}:\n{children.tail(one.log, 25)}" for one in self.recorders)
                told = f"ends {ends}, recorded {found}, {checkpoints} checkpoints, {erasures} erasures to apply"
                raise AssertionError(f"not recorded in {seconds:g} s: {told}\n{tails}")
            time.sleep(0.3)

    def wait_processed(self, seconds: float) -> None:
        """Until every partition's progress is complete and at the end of the log."""
        ends = self.ends(self.featureset.source.topic)
        deadline = time.monotonic() + seconds
        while True:
            now = self.progress()
            if all(p is not None and p.complete and p.offset >= end for p, end in zip(now, ends, strict=True)):
                return
            self.tend()
            if time.monotonic() > deadline:
                tails = "\n".join(f"{one.name}:\n{children.tail(one.log, 25)}" for one in self.processors)
                raise AssertionError(f"not processed in {seconds:g} s: log ends {ends}, progress {now}\n{tails}")
            time.sleep(0.3)
