"""The recorder: topics in, rows of PostgreSQL out, exactly once. Any number of processes share the partitions.

The main thread polls, judges and makes rows; one thread speaks to PostgreSQL, a transaction at a time. Whatever fails
there makes the recorder forget what it holds, take its partitions over again and go on where the database says.
"""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from freshet.admin.context import of_recorder
from freshet.admin.http import AdminServer, app_of
from freshet.recorder.batch import batch_of
from freshet.recorder.database import Database
from freshet.recorder.fence import Fenced, LogShorter, OwnerBusy
from freshet.recorder.flow import Flow
from freshet.recorder.holdings import Holdings, Key, LogEndChanged, Owned, TopicUnknown
from freshet.recorder.keeper import Keeper
from freshet.recorder.plan import Plan
from freshet.recorder.report import Report
from freshet.recorder.rounds import Job, Rounds
from freshet.recorder.rows import Place
from freshet.recorder.sweeper import Sweeper
from freshet.recorder.topic_watch import TopicWatch
from freshet.recorder.topics import Role
from freshet.runtime import logs, metrics
from freshet.runtime.clock import steady_ms
from freshet.runtime.live import state
from freshet.runtime.live.service import Server, configured
from freshet.runtime.live.state import ConfigState
from freshet.runtime.settings import RecorderSettings
from freshet.runtime.shutdown import Stop
from freshet.runtime.turns import Turns
from freshet.spec import naming
from freshet.spec.definition import FeatureSet
from freshet.spec.load import load_featuresets
from freshet.stores import kafka
from freshet.stores.deliveries import Continuity, next_offset
from freshet.stores.postgres import HistoryDown, NewerSchema

log = logging.getLogger(__name__)

_BATCH = 5_000
_GATHER_MS = 250
"""History is in no hurry, and few large deliveries cost everybody less than many small ones. With a transaction it is
less than what two owners that take a partition from each other leave each other at last: else neither would come on."""
_REVOKE_SECONDS = 3.0
"""Longest time that a hand-over may take: peers wait for it."""
_COMMIT_MS = 1_000
_GONE = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.UNKNOWN_TOPIC_ID, KafkaError._UNKNOWN_TOPIC)  # noqa: SLF001

Failure = (OwnerBusy, LogShorter, HistoryDown, TopicUnknown, KafkaException)
"""What a take-over may meet; it is tried again."""


def run(settings: RecorderSettings) -> None:
    """Records until SIGTERM or SIGINT, then writes what is in memory and returns.

    Raises ManifestError, ConfigurationError for what has to be mended before a start makes sense.
    """
    logs.configure("recorder", settings.log_format, settings.log_level)
    featuresets = [] if settings.live else load_featuresets(settings.manifests)
    log.info("settings", extra=settings.describe())
    stop = Stop()
    recorder = Recorder(settings, featuresets)
    server = metrics.serve(settings.metrics_host, settings.metrics_port, recorder.report.ready)
    gc.collect()
    gc.freeze()
    try:
        with configured(settings, featuresets, recorder.configure, stop, recorder.administration()) as known:
            recorder.loop(stop, known)
    finally:
        recorder.close()
        server.shutdown()


class Recorder:
    """Everything that one process holds."""

    def __init__(self, settings: RecorderSettings, featuresets: Sequence[FeatureSet]) -> None:
        self._settings = settings
        self._plan = Plan.of(featuresets, settings.namespace, settings.dead_letter_topic)
        self._next: Plan | None = None
        self._io = ThreadPoolExecutor(1, "history")
        self._database = Database(settings.postgres)
        self._consumer: Consumer = kafka.consumer(
            settings.kafka, naming.recorder_group(settings.namespace), gather_ms=_GATHER_MS
        )
        self._topics = TopicWatch(partial(kafka.admin, settings.kafka))
        self._holdings = Holdings(self._consumer, self._own, lambda reason: self.report.failed(reason))
        self._turns = Turns()
        self.report = Report(self._holdings, self._topics, self._turns)
        self._flow = Flow(self._holdings, self._io, self._database, lambda: self._plan)
        self._keeper = Keeper(settings.postgres)
        self._sweeper = Sweeper(settings.postgres, lambda: self._plan.readers())
        self._rounds = self._make_rounds()
        self._subscribed: tuple[str, ...] = ()
        self._opening: Future[None] | None = None
        self._open_at_ms = 0
        self._open_wait_ms = 0
        self._committed_ms = 0

    def configure(self, featuresets: Sequence[FeatureSet]) -> Mapping[str, str]:
        """Takes another configuration; called by another thread than `loop`'s."""
        before = self._next or self._plan
        self._next = Plan.of(featuresets, self._settings.namespace, self._settings.dead_letter_topic, before)
        return {}

    def administration(self) -> Callable[[str, int, Callable[[], ConfigState]], Server]:
        """What answers on the admin port: all of administration if there is a token, else only `GET /config`."""
        token = self._settings.admin_token
        if token is None:
            return state.serve
        installation = of_recorder(self._settings, lambda: self._plan.featuresets)
        return lambda host, port, told: AdminServer(app_of(installation, token, told), host, port)

    def loop(self, stop: Stop, known: Any = None) -> None:
        """Polls, judges and writes until told to stop."""
        while not stop.is_set():
            self._turns.turn()
            now = steady_ms()
            self.report.configured = known is None or known()
            self._reconfigure()
            self._look_at_topics(now)
            self._open(now)
            self._take(self._poll(stop))
            self._write(steady_ms())
            self._holdings.retry(steady_ms())
            self._commit(now)
            self._keeper.step(now, self._plan.retention, up=self.report.database is None)
            self._checkpoint(now)
            self.report.update(now, self._end, self._is_member)

    def close(self) -> None:
        """Leaves the group, which writes what is in memory first, and closes all connections."""
        self._consumer.close()
        self._turns.end()
        self._keeper.close()
        self._sweeper.close()
        if self._rounds is not None:
            self._rounds.close()
        self._io.submit(self._database.close)
        self._io.shutdown(wait=True)
        log.info("recorder stopped")

    # What to record.
    def _reconfigure(self) -> None:
        plan, self._next = self._next, None
        if plan is None:
            return
        before, self._plan = self._plan, plan
        for key in list(self._holdings.owned):
            if before.topics.get(key[0]) != plan.topics.get(key[0]):
                self._holdings.stop(key, TopicUnknown("the FeatureSets of the topic have changed"), 0)
        self._topics.soon()

    def _look_at_topics(self, now: int) -> None:
        self.report.wanted = tuple(self._plan.topics)
        if not self._topics.look(self.report.wanted, now):
            return
        for owned in list(self._holdings.owned.values()):
            seen = self._topics.seen.get(owned.place.topic)
            if seen is None or (seen.topic_id, seen.partitions) != (owned.place.topic_id, owned.partitions):
                error = TopicUnknown("the topic was deleted, made anew, or got another number of partitions")
                self._holdings.stop(owned.key, error, now)
        present = tuple(sorted(name for name in self._plan.topics if name in self._topics.seen))
        if present != self._subscribed:
            log.info("topics to record", extra={"topics": present})
            if present:
                self._consumer.subscribe(
                    list(present), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
                )
            else:
                self._consumer.unsubscribe()
            self._subscribed = present

    # The database.
    def _open(self, now: int) -> None:
        """Connects while there is no connection, with growing waits; never waits itself."""
        if self._opening is not None and self._opening.done():
            opening, self._opening = self._opening, None
            try:
                opening.result()
            except (HistoryDown, NewerSchema) as error:
                self.report.database_is(str(error))
                self._open_wait_ms = min(max(2 * self._open_wait_ms, 100), 5_000)
                self._open_at_ms = now + self._open_wait_ms
            else:
                self._open_wait_ms = 0
                self.report.database_is(None)
                self._holdings.hurry(HistoryDown)
        if self.report.database is not None and self._opening is None and now >= self._open_at_ms:
            self._opening = self._io.submit(self._database.open)

    def _lost(self, error: HistoryDown, now: int) -> None:
        self.report.database_is(str(error))
        self._holdings.stop_all(error, now)

    def _make_rounds(self) -> Rounds | None:
        settings = self._settings
        if settings.redis is None:
            return None
        return Rounds(settings.postgres, settings.redis, settings.namespace, settings.checkpoint_seconds)

    def _checkpoint(self, now: int) -> None:
        """Every partition of every revision whose events this process records."""
        if self._rounds is None or self.report.database is not None:
            return
        jobs = [
            Job(featureset, owned.place.partition, owned.place.topic_id, owned.judge.one_key)
            for owned in self._holdings.owned.values()
            if owned.role is Role.EVENTS and owned.judge is not None
            for featureset in self._plan.topics[owned.place.topic].featuresets
        ]
        self._rounds.step(jobs, now)
        self.report.checkpoints = self._rounds.problems()

    # Records in.
    def _poll(self, stop: Stop) -> list[Message]:
        """What is there now; waits a moment if nothing is, or if there is too much already."""
        if not self._flow.has_room() and not self._holdings.held:
            self._flow.wait_for_room(stop)
        self._holdings.hold(not self._flow.has_room())
        if not self._subscribed:
            stop.wait(0.1)
            self._consumer.poll(0)
            return []
        first = self._consumer.poll(self._flow.patience(steady_ms()))
        return [] if first is None else [first, *self._consumer.consume(_BATCH, 0)]

    def _take(self, messages: list[Message]) -> None:
        parts: dict[Key, list[Message]] = {}
        told: list[tuple[KafkaError, Message]] = []
        for message in messages:
            error = message.error()
            if error is None:
                parts.setdefault((message.topic() or "", message.partition() or 0), []).append(message)
            else:
                told.append((error, message))
        # What was fetched together is believed or not together: a restart says nothing of what came before it.
        restarted = {key for key, part in parts.items() if not self._take_partition(key, part)}
        for error, message in told:  # an end of a partition comes behind the records before it
            if (message.topic() or "", message.partition() or 0) not in restarted:
                self._told(error, message)

    def _told(self, error: KafkaError, message: Message) -> None:
        """The client reports the end of a partition, or a problem."""
        key = (message.topic() or "", message.partition() or 0)
        owned = self._holdings.owned.get(key)
        if error.code() == kafka.PARTITION_END:
            offset: Any = message.offset()
            if owned is None:
                return
            if self._believed(owned, lambda: owned.continuity.ends(owned.position, offset)):
                self._flow.ended(owned, offset, steady_ms())
        elif error.code() in kafka.OUTSIDE_LOG:
            self._topics.soon()
            sentence = f"{key[0]}/{key[1]}: what comes next is not in the log any more: {error.str()}"
            self._holdings.stop(key, LogEndChanged(sentence), steady_ms())
        else:
            if error.code() in _GONE:
                self._topics.soon()
            log.warning("Kafka reports a problem", extra={"code": error.name(), "error": error.str()})

    def _take_partition(self, key: Key, messages: list[Message]) -> bool:
        """Takes what is what comes next; False if it is not, and was asked for again."""
        owned = self._holdings.owned.get(key)
        if owned is None:
            return True
        batch = batch_of(messages)
        if not self._believed(owned, lambda: owned.continuity.accepts(owned.position, batch.offset)):
            return False
        known = int(np.searchsorted(batch.offset, owned.position))
        if known:
            # The log went backwards: the topic was made anew, and will be read from its start once that is seen.
            self._topics.soon()
            batch = batch.after(known)
        if len(batch):
            self._flow.take(owned, batch, steady_ms())
        return True

    def _believed(self, owned: Owned, judge: Callable[[], bool]) -> bool:
        """Asks Kafka to deliver a partition anew from where we are, unless what it delivered comes next there."""
        try:
            good = judge()
        except KafkaException as error:
            self._holdings.stop(owned.key, error, steady_ms())
            return False
        if not good:
            self._holdings.restart(owned.key, owned.position)
        return good

    # Rows out.
    def _write(self, now: int, *, hurry: bool = False) -> None:
        try:
            done = self._flow.step(now, hurry=hurry)
        except HistoryDown as error:
            self._lost(error, now)
            return
        if done is None:
            return
        self.report.written(done.outcome, done.seconds)
        for owned in done.fenced:
            if self._holdings.owned.get(owned.key) is owned:
                self._holdings.stop(owned.key, Fenced("another recorder has taken the partition over"), now)

    def _commit(self, now: int) -> None:
        """Kafka's committed offsets: for lag tools and autoscaling only."""
        if now - self._committed_ms < _COMMIT_MS:
            return
        self._committed_ms = now
        places = [TopicPartition(*key, offset) for key, offset in self._flow.committable().items()]
        if places:
            try:
                self._consumer.commit(offsets=places, asynchronous=True)
            except KafkaException as error:
                log.info("offsets not committed; lag tools see older ones", extra={"error": str(error)})

    # Partitions.
    def _own(self, keys: Sequence[Key]) -> Mapping[Key, Owned | Exception]:
        """Takes partitions over: the database's offsets are where consuming starts."""
        found: dict[Key, Owned | Exception] = {}
        try:
            bounds = kafka.many_log_bounds(kafka.admin(self._settings.kafka), keys)
        except KafkaException as error:
            return dict.fromkeys(keys, error)
        for key in keys:
            try:
                found[key] = self._own_one(key, bounds[key])
            except Failure as error:
                found[key] = error
        return found

    def _own_one(self, key: Key, bounds: tuple[int, int] | KafkaException) -> Owned:
        topic, partition = key
        if self.report.database is not None:
            raise HistoryDown(self.report.database)
        seen, recorded = self._topics.seen.get(topic), self._plan.topics.get(topic)
        if seen is None or recorded is None:
            self._topics.soon()
            raise TopicUnknown(f"{topic} is not there, or is not recorded any more")
        if isinstance(bounds, KafkaException):
            raise bounds
        place = Place(topic, seen.topic_id, partition)
        judge = self._plan.judges.get(topic)
        span = None if judge is None else judge.deduplicate_ms
        try:
            revisions = "" if judge is None else judge.revisions
            taken, duplicates = self._io.submit(self._database.take_over, place, *bounds, span, revisions).result()
        except HistoryDown as error:
            self.report.database_is(str(error))
            raise
        if taken.missed:
            self.report.jumped(key, taken.missed, taken.next_offset)
        continuity = Continuity(lambda offset: next_offset(self._settings.kafka, topic, partition, offset))
        return Owned.of(place, seen.partitions, recorded.role, taken, judge, duplicates, continuity)

    def _is_member(self) -> bool:
        return bool(self._subscribed) and bool(self._consumer.memberid())

    def _end(self, key: Key) -> int:
        """Where the partition's log ends, as far as the client knows without asking."""
        known = self._consumer.get_watermark_offsets(TopicPartition(*key), cached=True)
        return known[1] if known else -1

    def _on_assign(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._holdings.assigned([(p.topic, p.partition) for p in partitions], steady_ms())

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        deadline = time.monotonic() + _REVOKE_SECONDS
        keys = [(p.topic, p.partition) for p in partitions]
        while self._flow.pending(keys) and time.monotonic() < deadline:
            self._flow.wait(deadline - time.monotonic())
            self._write(steady_ms(), hurry=True)
        self._committed_ms = 0
        self._commit(steady_ms())
        self._drop(keys)
        consumer.incremental_unassign(partitions)

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._drop([(p.topic, p.partition) for p in partitions])
        consumer.incremental_unassign(partitions)

    def _drop(self, keys: Sequence[Key]) -> None:
        self._holdings.dropped(keys)
        for key in keys:
            self.report.dropped(key)
