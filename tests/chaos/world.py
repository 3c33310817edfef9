"""The whole system of one round: topics and services of its own on servers that rounds share."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import psycopg
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException

from freshet.dev import children
from freshet.dev.kafka_cluster import EmbeddedKafkaCluster
from freshet.dev.servers import EmbeddedPostgres
from freshet.runtime.settings import KafkaSettings
from freshet.spec.load import parse_featureset
from freshet.spec.naming import rekey_group
from freshet.stores import kafka
from freshet.stores.redis import connect
from tests.chaos import manifests
from tests.chaos.processes import Process
from tests.chaos.proxy import Network, Proxy
from tests.chaos.subject import Subject

_PROGRAMS = {
    "processor": "tests.chaos.processor",
    "recorder": "tests.integration.dying_recorder",
    "rekey": "tests.integration.dying_stage",
}
_MEMBERS = ("processor", "recorder", "rekey")
"""Services that share partitions in a consumer group."""
_CLIENT = "session.timeout.ms=6000\n"
_BROKER = {"transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000"}
"""Else a transaction that was left open is looked for every 10 s."""


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
        ports = [proxy.port for proxy in self.brokers]
        self.kafka = EmbeddedKafkaCluster(folder / "kafka", advertised=ports, properties=_BROKER)
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
        self.origin = f"events-{number}"
        """The topic that events come in on."""
        self._lenient = folder / "lenient.yaml"
        self._lenient.write_text(manifests.lenient(self.origin))
        self.users = self._subject(manifests.users(self.origin))
        self.cards = self._subject(manifests.cards(self.origin))
        self.subjects = [self.users, self.cards]
        self.dead_letters = f"dead-{number}"
        self.settings = KafkaSettings(bootstrap=servers.kafka.bootstrap)
        self.processors = [self._process(f"processor-{i}", "processor", self.users) for i in (1, 2)]
        self.processors.append(self._process("processor-3", "processor", self.cards))
        self.stages = [self._process(f"rekey-{i}", "rekey", self.cards) for i in (1, 2)]
        """What copies events into the topic of the cards."""
        self.ingests = [self._process(f"ingest-{i}", "ingest") for i in (1, 2)]
        self.recorders = [self._process(f"recorder-{i}", "recorder") for i in (1, 2)]
        self.serving = self._process("serving", "serving")
        self.deaths: list[str] = []
        """Services that ended without a fault that wanted it."""

    def _subject(self, manifest: str) -> Subject:
        featureset = parse_featureset(manifest)
        file = self.folder / f"{featureset.name}.yaml"
        file.write_text(manifest)
        return Subject(file, featureset, self.namespace, lambda: connect(self.store.url))

    def _process(self, name: str, command: str, of: Subject | None = None) -> Process:
        """A service of this round, not started: of one FeatureSet, or of all."""
        (self.folder / "client.properties").write_text(_CLIENT)
        files = [subject.file for subject in ([of] if of else self.subjects)]
        environment = {
            "FRESHET_KAFKA": self.settings.bootstrap,
            "FRESHET_KAFKA_CONFIG": str(self.folder / "client.properties") if command in _MEMBERS else "",
            "FRESHET_REDIS": self.store.url,
            "FRESHET_POSTGRES": self._postgres if command != "ingest" else "",
            "FRESHET_CHECKPOINT_SECONDS": "4" if command == "recorder" else "",
            "FRESHET_MANIFESTS": ",".join(map(str, [self._lenient, *files] if command == "ingest" else files)),
            "FRESHET_NAMESPACE": self.namespace,
            "FRESHET_DEAD_LETTER_TOPIC": self.dead_letters,
            "FRESHET_COALESCE_MS": "100" if command == "processor" else "",
            "FRESHET_ACKNOWLEDGE_TIMEOUT_MS": "6000" if command == "ingest" else "",
        }
        program = [_PROGRAMS[command]] if command in _PROGRAMS else ["freshet", command]
        made = Process(name, program, self.folder / f"{name}.log", environment)
        self._made.append(made)
        return made

    def beside(self, process: Process, name: str) -> Process:
        """One more like it, not started."""
        made = process.another(name)
        self._made.append(made)
        return made

    def start(self) -> None:
        """Starts all and waits until they are ready."""
        featuresets = [subject.featureset for subject in self.subjects]
        kafka.ensure_topics(kafka.admin(self.settings), featuresets, self.dead_letters)
        for process in self.services():
            process.start()
        for process in self.services():
            process.wait()

    def services(self) -> list[Process]:
        """All that are to run."""
        return [*self.ingests, *self.stages, *self.processors, *self.recorders, self.serving]

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
        kafka.admin(self.settings).delete_topics([*self.recorded_topics(), f"lenient-{self.origin}"])

    def recorded_topics(self) -> list[str]:
        """All that history is to have."""
        return [*(name for one in self.subjects for name in (one.topic, one.output)), self.dead_letters]

    def ends(self, topic: str) -> list[int]:
        """Ends of a topic's partitions."""
        consumer = kafka.consumer(self.settings, "chaos-ends")
        try:
            partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
            return [kafka.log_bounds(consumer, topic, p)[1] for p in sorted(partitions)]
        finally:
            consumer.close()

    def rows(self, text: str, *values: Any) -> list[Any]:
        """Rows of the round's history."""
        return self.history.query(self.database, text, *values)

    def wait_recorded(self, seconds: float) -> None:
        """Until history has all topics up to their ends, no erasure waits, and each partition has a checkpoint."""
        ends = {(topic, p): end for topic in self.recorded_topics() for p, end in enumerate(self.ends(topic)) if end}
        partitions = sum(subject.partitions for subject in self.subjects)
        deadline = time.monotonic() + seconds
        while True:
            try:
                found = {row[:2]: row[2] for row in self.rows("SELECT topic, partition, next_offset FROM recorded")}
                ((checkpoints,),) = self.rows("SELECT count(*) FROM checkpoints")
                ((erasures,),) = self.rows("SELECT count(*) FROM erasures WHERE applied_at IS NULL")
            except psycopg.Error:
                found, checkpoints, erasures = {}, 0, 0
            recorded = all(found.get(place, -1) >= end for place, end in ends.items())
            if recorded and checkpoints >= partitions and not erasures:
                return
            self.tend()
            if time.monotonic() > deadline:
                told = f"ends {ends}, recorded {found}, {checkpoints} checkpoints, {erasures} erasures to apply"
                raise AssertionError(f"not recorded in {seconds:g} s: {told}\n{_tails(self.recorders)}")
            time.sleep(0.3)

    def wait_copied(self, seconds: float) -> None:
        """Until the stages have committed the origin's ends."""
        ends = self.ends(self.origin)
        deadline = time.monotonic() + seconds
        while (now := self._copied()) is None or any(now.get(p, 0) < end for p, end in enumerate(ends)):
            self.tend()
            if time.monotonic() > deadline:
                raise AssertionError(f"not copied in {seconds:g} s: log ends {ends}, {now}\n{_tails(self.stages)}")
            time.sleep(0.3)

    def _copied(self) -> dict[int, int] | None:
        """Up to where each of the origin's partitions is copied; None while Kafka does not tell."""
        group = rekey_group(self.cards.topic)
        client = kafka.admin(self.settings)  # has a name, since an answer to a client that is gone never comes
        try:
            answer: Any = client.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)], request_timeout=5)
            return {place.partition: place.offset for place in answer[group].result(10).topic_partitions}
        except KafkaException:
            return None

    def wait_processed(self, seconds: float) -> None:
        """Until every partition's progress is complete and at the end of the log."""
        ends = {subject.name: self.ends(subject.topic) for subject in self.subjects}
        deadline = time.monotonic() + seconds
        while True:
            now = {subject.name: subject.progress() for subject in self.subjects}
            places = [place for name, log in ends.items() for place in zip(now[name], log, strict=True)]
            if all(p is not None and p.complete and p.offset >= end for p, end in places):
                return
            self.tend()
            if time.monotonic() > deadline:
                told = f"log ends {ends}, progress {now}\n{_tails(self.processors)}"
                raise AssertionError(f"not processed in {seconds:g} s: {told}")
            time.sleep(0.3)


def _tails(processes: Sequence[Process]) -> str:
    return "\n".join(f"{one.name}:\n{children.tail(one.log, 25)}" for one in processes)
