"""`freshet rekey`: copies the events of a topic that is keyed by something else into one that is keyed by the entity.

Exactly once and in order: copies and the offsets up to which the origin is copied are one transaction (decision 11).
Several processes share the origin's partitions by Kafka's consumer group, which refuses the offsets of who has lost
its partitions, and with them the copies.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterable
from functools import partial
from typing import Any

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from freshet.engine.rekeying import KeyReader, rekeyed
from freshet.rekey.beginning import Start, Stopped
from freshet.rekey.offsets import Offsets
from freshet.rekey.partitions import Partitions, Running
from freshet.rekey.report import Counts, Report
from freshet.rekey.writer import Aborted, Writer
from freshet.runtime import logs, metrics
from freshet.runtime.clock import now_ms
from freshet.runtime.settings import ConfigurationError, RekeySettings
from freshet.runtime.shutdown import Stop
from freshet.runtime.turns import Turns
from freshet.spec.definition import FeatureSet
from freshet.spec.load import load_featuresets
from freshet.spec.naming import rekey_group
from freshet.stores import kafka
from freshet.stores.deliveries import Continuity, next_offset

log = logging.getLogger(__name__)

_BATCH = 10_000
_IDLE_COMMIT_MS = 1_000
"""Of offsets of records that were left out: nobody waits for them."""
_LOOK_MS = 2_000
"""Between two looks at the topics' ids. One made anew and filled again within it looks like the old one."""
_STANDS_MS = 5_000
"""Steps of a transaction may each take 3 s, and the client keeps its promises of time only roughly."""
_RECORD_BYTES = 256
"""What a record takes at most beside its key, value and headers."""


class TooLarge(Stopped):
    """The topic of the copies does not take a record of the origin."""


class OutsideLog(Exception):
    """What comes next is not in the origin: where it begins is looked at anew."""


class Lost(Exception):
    """The topics are not what they were a moment ago."""


def run(settings: RekeySettings) -> None:
    """Copies until SIGTERM or SIGINT, then commits what is under way and returns.

    Raises ManifestError, ConfigurationError for what has to be mended before a start makes sense.
    """
    logs.configure("rekey", settings.log_format, settings.log_level)
    featureset = choose(load_featuresets(settings.manifests), settings.featureset)
    log.info("settings", extra=settings.describe())
    stop = Stop()
    stage = Stage(settings, featureset)
    server = metrics.serve(settings.metrics_host, settings.metrics_port, stage.report.ready)
    log.info("rekey started", extra={"origin": featureset.source.origin, "topic": featureset.source.topic})
    try:
        stage.loop(stop)
    finally:
        stage.close()
        server.shutdown()


def choose(featuresets: list[FeatureSet], name: str | None) -> FeatureSet:
    """A FeatureSet whose topic is to be filled. Raises ConfigurationError if that is not clear."""
    chosen = {fs.source.topic: fs for fs in featuresets if name in (None, fs.name) and fs.source.origin is not None}
    if len(chosen) == 1:
        return chosen.popitem()[1]
    if name is not None:
        raise ConfigurationError(f'FRESHET_FEATURESET: there is no FeatureSet "{name}" with spec.source.rekey: true')
    if not chosen:
        raise ConfigurationError("FRESHET_MANIFESTS: no FeatureSet has spec.source.rekey: true, so there is no work")
    raise ConfigurationError(
        f"FRESHET_FEATURESET: the manifests re-key into {', '.join(sorted(chosen))}: name a FeatureSet of one of them"
    )


class Stage:
    """Everything that one process holds."""

    def __init__(self, settings: RekeySettings, featureset: FeatureSet) -> None:
        source = self._source = featureset.source
        self._settings = settings
        self._reader = KeyReader(featureset.definition.key)
        self._consumer: Consumer = kafka.consumer(settings.kafka, rekey_group(source.topic))
        self._offsets = Offsets(
            partial(kafka.admin, settings.kafka), self._consumer, source, skip=settings.on_gap == "skip"
        )
        name = f"{self._offsets.group}/{uuid.uuid4().hex[:12]}"
        self._writer = Writer(settings.kafka, source.topic, source.partitioner, name)
        self._partitions = Partitions(self._consumer, self._offsets.origin)
        self._counts = Counts()
        self._turns = Turns(_STANDS_MS)
        self.report = Report(source, self._partitions, self._turns)
        self._committed_ms = 0
        self._looked_ms = now_ms()

    def loop(self, stop: Stop) -> None:
        """Copies until told to stop."""
        self._wait_for_topics(stop)
        self._consumer.subscribe(
            [self._offsets.origin], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )
        while not stop.is_set():
            self._turns.turn()
            messages = self._poll()
            now = now_ms()
            try:
                self._take(messages)
                self._commit_if_due(now)
                self._watch(now)
            except (Aborted, KafkaException, Lost) as error:
                self._begin_anew(error, now)
            self._resume(now)
            self.report.member = bool(self._consumer.memberid())
            self.report.update(now, self._end)

    def close(self) -> None:
        """Commits, and leaves the group."""
        self._consumer.close()
        self._writer.close()
        self._turns.end()
        log.info("rekey stopped")

    def _wait_for_topics(self, stop: Stop) -> None:
        """On a cluster the operator makes them, maybe later. The client would look for them every five minutes."""
        while not stop.is_set():
            try:
                self._offsets.look()
                self.report.problem = None
                return
            except (KafkaException, Stopped) as error:
                self.report.problem = _sentence(error)
                log.warning("topics not usable yet", extra={"error": self.report.problem})
                stop.wait(1.0)

    def _poll(self) -> list[Message]:
        """What is there now; waits a moment if nothing is."""
        wait = 0.005 if self._counts.copied or self._partitions.due(now_ms()) else 0.1
        first = self._consumer.poll(wait)
        return [] if first is None else [first, *self._consumer.consume(_BATCH, 0)]

    def _take(self, messages: list[Message]) -> None:
        parts: dict[Any, list[Message]] = {}
        ends: list[Message] = []
        outside: list[Message] = []
        for message in messages:
            error = message.error()
            if error is None:
                parts.setdefault(message.partition(), []).append(message)
            elif error.code() == kafka.PARTITION_END:
                ends.append(message)
            elif error.code() in kafka.OUTSIDE_LOG:
                outside.append(message)
            else:
                log.warning("Kafka reports a problem", extra={"code": error.name(), "error": error.str()})
        for partition, part in parts.items():
            self._take_partition(partition, part)
        for end in ends:
            running = self._partitions.running.get(end.partition() or 0)
            if running is not None and running.continuity.ends(running.position, end.offset() or 0):
                running.position = max(running.position, end.offset() or 0)
        for one in outside:
            if one.partition() in self._partitions.running:
                self._stop(one.partition() or 0, OutsideLog(str(one.error())))

    def _take_partition(self, partition: int, messages: list[Message]) -> None:
        running = self._partitions.running.get(partition)
        if running is None:
            return  # fetched before it was stopped: it will come again
        if not running.comes_next(messages):
            log.info("a delivery did not come next", extra={"partition": partition, "position": running.position})
            self._partitions.restart(partition)
            return
        for message in messages:
            offset = message.offset() or 0
            if offset < running.position:
                continue  # twice in one delivery
            if not self._copy(partition, message):
                return
            running.position = offset + 1

    def _copy(self, partition: int, message: Message) -> bool:
        """Adds one record to the transaction; False if the partition has to stop before it."""
        key, value = kafka.raw(message.key()), kafka.raw(message.value())
        headers: Any = message.headers() or []
        found = rekeyed(self._reader, key, value, headers)
        if not found.copied:
            self._counts.skipped[found.fate] += 1
            return True
        size = len(value or b"") + len(found.key or b"") + _RECORD_BYTES
        size += sum(len(name) + len(data or b"") for name, data in headers)
        if size > self._offsets.most_bytes:
            return self._too_large(partition, message, size)
        # Where no key decides, the origin's partition does: so its order is kept.
        home = -1 if found.key is not None else partition % self._source.partitions
        self._writer.send(value, found.key, headers, home)
        self._counts.add(found.fate, message.timestamp()[1])
        return True

    def _too_large(self, partition: int, message: Message, size: int) -> bool:
        offset, limit = message.offset(), self._offsets.most_bytes
        sentence = (
            f"the record at offset {offset} of partition {partition} of {self._offsets.origin} may take {size} bytes,"
            f" and topic {self._source.topic} takes {limit}: raise its max.message.bytes"
        )
        if self._settings.on_gap == "skip":
            log.error(f"{sentence}; it was left out, as FRESHET_ON_GAP=skip says")
            self._counts.lost += 1
            return True
        self._stop(partition, TooLarge(sentence))
        return False

    def _stop(self, partition: int, why: Exception) -> None:
        """Stops one partition; what the transaction holds of it is committed with its offset first."""
        self._commit()
        self._partitions.stop(partition, why, now_ms())

    def _commit_if_due(self, now: int) -> None:
        wait = self._settings.commit_ms if self._counts.copied else _IDLE_COMMIT_MS
        if abs(now - self._committed_ms) >= wait and self._partitions.moved():
            self._commit()

    def _commit(self, *, release: Iterable[int] = ()) -> None:
        """One transaction: the copies, and how far each partition is. Those in `release` are given up in order."""
        released = set(release)
        moved = {p: r for p, r in self._partitions.running.items() if p in released or r.position != r.committed}
        if not moved:
            return
        began = time.monotonic()
        writer = self._writer.transactional_id
        places = [self._offsets.place(p, r.position, None if p in released else writer) for p, r in moved.items()]
        self._writer.commit(places, self._consumer)
        self._committed_ms = now_ms()
        for running in moved.values():
            running.committed = running.position
        self.report.committed(self._counts, time.monotonic() - began, self._committed_ms)
        self._counts = Counts()

    def _begin_anew(self, why: Exception, now: int) -> None:
        """Nothing is remembered: what is committed says where all partitions go on."""
        self._writer.abort()
        self._counts = Counts()
        self.report.aborted()
        for partition in list(self._partitions.running):
            self._partitions.stop(partition, why, now)

    def _resume(self, now: int) -> None:
        """Goes on with partitions that are new or have waited long enough, all at once."""
        due = self._partitions.due(now)
        if not due:
            return
        try:
            self._writer.open()
            found = self._offsets.find(due, self._writer)
            for partition, problem in found.stopped.items():
                self._partitions.stop(partition, problem, now_ms())
            self._claim(found.starts)
        except (Aborted, KafkaException, Stopped) as error:
            for partition in due:
                self._partitions.stop(partition, error, now_ms())
            if isinstance(error, Aborted):
                self._begin_anew(error, now_ms())

    def _claim(self, starts: dict[int, Start]) -> None:
        """Says in a transaction without copies who writes from now on; only then is anything copied."""
        if not starts:
            return
        self._commit()  # what others hold must not depend on the claim
        places = [self._offsets.place(p, start.offset, self._writer.transactional_id) for p, start in starts.items()]
        self._writer.commit(places, self._consumer)
        for partition, start in starts.items():
            look = self._next_offset(partition)
            self._partitions.start(partition, Running(start.offset, Continuity(look)))
            if start.lost:
                metrics.REKEY_LOST.labels(self._source.topic).inc(start.lost)
                log.error("offsets are gone and skipped", extra={"partition": partition, "offsets": start.lost})

    def _next_offset(self, partition: int) -> Any:
        settings, origin = self._settings.kafka, self._offsets.origin
        return lambda offset: next_offset(settings, origin, partition, offset)

    def _watch(self, now: int) -> None:
        """A topic made anew ends everything; what then is the case the next beginning finds out.

        A broker that is silent is noticed here too: while there is nothing to copy, nobody else asks it anything.
        """
        running = bool(self._partitions.running)
        if abs(now - self._looked_ms) < _LOOK_MS or not (running or self.report.problem):
            return
        try:
            seen = self._offsets.look()
        except KafkaException as error:
            self.report.problem = f"the topics cannot be looked at: {_sentence(error)}"
            log.warning("topics could not be looked at", extra={"error": _sentence(error)})
            return
        except Stopped as problem:
            if running:
                raise Lost(str(problem)) from None
            return
        finally:
            self._looked_ms = now_ms()  # an answer that does not come takes a while: what else is to do comes between
        self.report.problem = None
        if running and seen != self._offsets.topics:
            raise Lost("a topic was deleted and made anew")

    def _end(self, partition: int) -> int:
        """Where the origin's partition ends, as far as the client knows without asking."""
        known = self._consumer.get_watermark_offsets(TopicPartition(self._offsets.origin, partition), cached=True)
        return known[1] if known else -1

    def _on_assign(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._partitions.assigned([p.partition for p in partitions], now_ms())

    def _on_revoke(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        numbers = [p.partition for p in partitions]
        try:
            self._commit(release=[p for p in numbers if p in self._partitions.running])
        except (Aborted, KafkaException) as error:
            self._begin_anew(error, now_ms())
        self._partitions.dropped(numbers)

    def _on_lost(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._begin_anew(Lost("Kafka gave the partitions to somebody else"), now_ms())
        self._partitions.dropped([p.partition for p in partitions])


def _sentence(error: Exception) -> str:
    if isinstance(error, KafkaException):
        code = error.args[0]
        return "there is no topic yet" if code.code() == kafka.NO_SUCH_TOPIC else f"Kafka: {code.str()}"
    return str(error)
