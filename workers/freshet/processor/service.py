"""The processor: raw events in, states, feature vectors and dead letters out. One process, one FeatureSet.

The main thread polls, decodes and computes; one I/O thread speaks to the store, in order. Several processes share the
partitions by Kafka's consumer group.
"""

from __future__ import annotations

import gc
import logging
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition

from freshet.engine.state_table import StateTable
from freshet.processor.assignment import Assignment
from freshet.processor.compiled import Compiled
from freshet.processor.messages import to_records
from freshet.processor.origin import LogBounds
from freshet.processor.outputs import Outputs
from freshet.processor.partition import Limits, PartitionOwner, SourceChanged, SourceTruncated
from freshet.processor.poll_size import PollSize
from freshet.processor.records import Records
from freshet.processor.report import Report
from freshet.processor.runner import Pace, Runner
from freshet.processor.source import SourceWatch
from freshet.processor.takeover import History, Takeovers, Taking
from freshet.processor.together import take_together
from freshet.runtime import logs, metrics
from freshet.runtime.clock import now_ms
from freshet.runtime.settings import ConfigurationError, ProcessorSettings
from freshet.runtime.shutdown import Stop
from freshet.runtime.turns import Turns
from freshet.spec import headers, naming
from freshet.spec.definition import FeatureSet
from freshet.spec.lifetime import horizon_ms
from freshet.spec.load import load_featuresets
from freshet.stores import kafka
from freshet.stores.deliveries import Continuity, next_offset
from freshet.stores.fence import PartitionFence, StoreDown
from freshet.stores.redis import Client, EvictingStore, connect, require_noeviction

log = logging.getLogger(__name__)

_REVOKE_MS = 3_000
"""Longest time that a hand-over may take: peers wait for it."""
_COMMIT_MS = 1_000
_CLOCK_STEP_MS = 1_000
"""Smaller steps back only make a wait that much longer."""
_REBUILT_AT_ONCE = 3
"""Partitions: each waits for its database or its store for two thirds of the time."""
_COLLECT_AFTER = 100_000
"""Objects between two looks for cycles, of which there are hardly any: at the default of 700 they cost a twentieth."""
_SWITCH_SECONDS = 0.0005
"""How long the computing thread may keep the interpreter while a store reply waits: the default of 5 ms would be paid
at every script."""


def run(settings: ProcessorSettings) -> None:
    """Processes one FeatureSet until SIGTERM or SIGINT, then writes what is in memory and returns.

    Raises ManifestError, ConfigurationError for what has to be mended before a start makes sense.
    """
    logs.configure("processor", settings.log_format, settings.log_level)
    featureset = choose(load_featuresets(settings.manifests), settings.featureset)
    log.info("settings", extra=settings.describe())
    stop = Stop()
    processor = Processor(settings, featureset)
    server = metrics.serve(settings.metrics_host, settings.metrics_port, processor.report.ready)
    log.info("processor started", extra={"featureset": featureset.name, "revision": featureset.definition.revision})
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, 20, 100)
    sys.setswitchinterval(_SWITCH_SECONDS)
    try:
        processor.loop(stop)
    except BaseException:
        processor.forget()
        raise
    finally:
        processor.close(settings.grace_seconds)
        server.shutdown()


class ClockSetBack(Exception):
    """The time of day went backwards."""


class Processor:
    """Everything that one process holds."""

    def __init__(self, settings: ProcessorSettings, featureset: FeatureSet) -> None:
        self._settings = settings
        self._featureset = featureset
        self._compiled = Compiled.of(featureset)
        self._table = StateTable(featureset.definition, self._compiled.layout)
        self._topic = featureset.source.topic
        self._namespace = featureset.namespace or settings.namespace
        self._owner = naming.owner(self._namespace, featureset.name, featureset.definition.revision)
        group = naming.consumer_group(self._namespace, featureset.name, featureset.definition.revision)
        self._io = ThreadPoolExecutor(1, "store")
        self._store: Client | None = None
        self._producer: Producer = kafka.producer(settings.kafka, featureset.source.partitioner)
        self._consumer: Consumer = kafka.consumer(settings.kafka, group)
        self._source = SourceWatch(partial(kafka.admin, settings.kafka), featureset.source)
        self._rebuilds = ThreadPoolExecutor(_REBUILT_AT_ONCE, "rebuild")
        self._reads = ThreadPoolExecutor(1, "history")
        self._takeovers = self._make_takeovers()
        self._assignment = Assignment(
            self._consumer,
            self._topic,
            self._own,
            self._io,
            Pace(settings.coalesce_ms),
            self._compiled,
            featureset.name,
            self._continuity,
        )
        self._turns = Turns()
        self.report = Report(featureset, self._assignment, self._source, self._turns)
        self._size = PollSize()
        self._polled = 0
        """Records of the last poll."""
        self._behind = False
        self._committed_ms = 0
        self._looked_at_ms = 0
        self._awake = time.monotonic()
        """When the main loop last came back from waiting for events."""

    def loop(self, stop: Stop) -> None:
        """Polls and computes until told to stop."""
        self._wait_for_store(stop)
        self._wait_for_source(stop)
        self._consumer.subscribe(
            [self._topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )
        self._awake = time.monotonic()  # waiting for others was no work
        while not stop.is_set():
            self._turns.turn()
            self._take(self._poll())
            self._take_records(self._assignment.backlogs())
            self._producer.poll(0)
            now = now_ms()
            self._look_at_clock(now)
            for flushed in self._assignment.step(now, behind=self._behind):
                self.report.flushed(flushed)
            self._assignment.retry(now)
            self._watch_source(now)
            self._commit(now)
            self.report.update(now, self._ends, lambda: bool(self._consumer.memberid()))

    def _ends(self, partition: int) -> int:
        """Where the partition's log ends, as far as the client knows without asking."""
        place = TopicPartition(self._topic, partition)
        known = self._consumer.get_watermark_offsets(place, cached=True)
        return known[1] if known else -1

    def forget(self) -> None:
        """Nothing that is in memory is to be stored: an error of ours may have left a batch half applied."""
        self._assignment.dropped([*self._assignment.runners, *self._assignment.rebuilding])

    def close(self, grace_seconds: float) -> None:
        """Leaves the group, which drains every partition first, and closes all connections."""
        self._consumer.close()
        self._turns.end()
        left = self._producer.flush(grace_seconds / 2)
        if left:
            log.warning("outputs were not acknowledged in time; they will be sent again", extra={"messages": left})
        for pool in (self._rebuilds, self._reads, self._io):
            pool.shutdown(wait=True, cancel_futures=True)
        if self._store is not None:
            self._store.close()
        log.info("processor stopped")

    def _wait_for_store(self, stop: Stop) -> None:
        """An eviction policy that forgets states is refused before anything is written (§6.10)."""
        while not stop.is_set():
            try:
                if self._store is None:
                    self._store = connect(self._settings.redis)
                require_noeviction(self._store)
                self.report.problem = None
                return
            except (StoreDown, EvictingStore) as error:
                self.report.problem = f"store: {error}"
                log.warning("store not usable yet", extra={"error": str(error)})
                stop.wait(1.0)

    def _wait_for_source(self, stop: Stop) -> None:
        """On a cluster the operator makes the topic, maybe later. The client would look for it every five minutes."""
        while not stop.is_set():
            try:
                self._source.current()
                self.report.problem = None
                return
            except KafkaException as error:
                self.report.problem = self._source.why_not(error)
                log.warning("source topic not usable yet", extra={"error": self.report.problem})
                stop.wait(1.0)

    def _poll(self) -> list[Message]:
        """What is there now; waits a moment if nothing is."""
        wait = 0.005 if self._assignment.busy else 0.1
        began = time.monotonic()
        first = self._consumer.poll(wait)
        self.report.busy_seconds += began - self._awake
        self._size.took(self._polled, began - self._awake)
        self._awake = time.monotonic()
        messages = [] if first is None else [first, *self._consumer.consume(self._size.records, 0)]
        self._polled, self._behind = len(messages), self._size.full(len(messages))
        return messages

    def _take(self, messages: list[Message]) -> None:
        parts: dict[Any, list[Message]] = {}
        ends: dict[Any, Any] = {}
        for message in messages:
            error = message.error()
            if error is None:
                parts.setdefault(message.partition(), []).append(message)
            elif error.code() == kafka.PARTITION_END:
                ends[message.partition()] = message.offset()
            elif error.code() in kafka.OUTSIDE_LOG:
                sentence = f"partition {message.partition()}: what comes next is not in the log any more: {error.str()}"
                self._assignment.stop(message.partition() or 0, SourceTruncated(sentence), now_ms())
            else:
                self.report.kafka_error(error)
        # What was fetched together is believed or not together: a restart says nothing of what came before it.
        judged = {partition: self._next(partition, part) for partition, part in parts.items()}
        self._take_records([(partition, records) for partition, records in judged.items() if records is not None])
        for partition, offset in ends.items():
            if judged.get(partition, ...) is not None:
                self._reached_end(partition, offset)

    def _consuming(self, partition: Any) -> Runner | None:
        """The runner that takes what Kafka delivers of a partition; none while events come from elsewhere."""
        runner = self._assignment.runners.get(partition)
        return None if runner is None or runner.backlog is not None else runner

    def _next(self, partition: int, messages: list[Message]) -> Records | None:
        """The records, if they are what comes next; else they were asked for again, or nobody wants them."""
        runner = self._consuming(partition)
        if runner is None:
            return None
        records, position = to_records(messages, self._owner), runner.owner.position
        good = self._believed(partition, lambda: runner.continuity.accepts(position, records.offset))
        return records if good else None

    def _believed(self, partition: int, judge: Callable[[], bool]) -> bool:
        """Asks Kafka to deliver a partition anew from where we are, unless what it delivered comes next there."""
        try:
            good = judge()
        except KafkaException as error:
            self._assignment.stop(partition, error, now_ms())
            return False
        if not good:
            position = self._assignment.runners[partition].owner.position
            log.info("a delivery did not come next", extra={"partition": partition, "position": position})
            self._assignment.restart(partition, position)
        return good

    def _take_records(self, parts: Sequence[tuple[int, Records]]) -> None:
        if not parts:
            return
        began = time.perf_counter()
        runners = [(self._assignment.runners[partition], records) for partition, records in parts]
        for runner, error in take_together(self._compiled.decoder, runners, now_ms()):
            self._assignment.stop(runner.owner.partition, error, now_ms())
        self.report.computed(time.perf_counter() - began)

    def _reached_end(self, partition: Any, offset: Any) -> None:
        """The end of the log may lie beyond its last record: control records have offsets too."""
        runner = self._consuming(partition)
        if runner is None:
            return
        position = runner.owner.position
        if self._believed(partition, lambda: runner.continuity.ends(position, offset)):
            runner.owner.reached(offset)

    def _own(self, partition: int) -> Taking:
        """Takes over one partition: the store's offset is where consuming starts."""
        fs, settings, namespace = self._featureset, self._settings, self._namespace
        assert self._store is not None, "partitions are assigned after the store was reached"
        topic = self._source.current()
        if self._source.problem:
            raise SourceChanged(self._source.problem)
        tag = naming.tag(namespace, fs.name, fs.definition.revision, partition)
        source = {
            headers.FEATURESET: self._owner,
            headers.TOPIC: self._topic,
            headers.TOPIC_ID: topic.topic_id,
            headers.PARTITION: str(partition),
        }
        outputs = Outputs(self._producer, fs, source=source, dead_letter_topic=settings.dead_letter_topic)
        owner = PartitionOwner(
            fs,
            partition,
            PartitionFence(self._store, tag),
            outputs,
            compiled=self._compiled,
            io=lambda load: self._io.submit(load).result,
            limits=Limits(resident_entities=settings.resident_entities),
            counts=self.report.counts,
            table=self._table,
        )
        start, end = kafka.log_bounds(self._consumer, self._topic, partition)
        return self._takeovers.take(owner, topic.topic_id, LogBounds(start, end, None))

    def _continuity(self, partition: int) -> Continuity:
        kafka_settings, topic = self._settings.kafka, self._topic
        return Continuity(lambda offset: next_offset(kafka_settings, topic, partition, offset))

    def _make_takeovers(self) -> Takeovers:
        settings = self._settings
        history = None
        if settings.postgres is not None:
            history = History(settings.postgres, self._owner, self._reads)
        return Takeovers(
            self._io,
            self._rebuilds,
            self._compiled.layout,
            now_ms,
            history,
            self._horizon,
            skip_gaps=settings.on_gap == "skip",
        )

    def _horizon(self, partition: int, bounds: LogBounds) -> int | None:
        """See `LogBounds.horizon`: a record before it in the log shows that nothing newer was deleted."""
        back = horizon_ms(self._featureset.definition)
        if back is None or bounds.start == bounds.end:
            return None
        first = kafka.offset_at(self._consumer, self._topic, partition, now_ms() - back)
        if first is None:
            return bounds.end
        return first if first > bounds.start else None

    def _on_assign(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._assignment.assigned([p.partition for p in partitions], now_ms())

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        numbers = [p.partition for p in partitions]
        self._assignment.drain(numbers, now_ms, now_ms() + _REVOKE_MS, lambda: self._producer.poll(0.002))
        self._assignment.dropped(numbers)
        consumer.incremental_unassign(partitions)

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._assignment.dropped([p.partition for p in partitions])
        consumer.incremental_unassign(partitions)

    def _look_at_clock(self, now: int) -> None:
        """What waits for a time of day would wait for as long as the clock was set back, so everything begins anew."""
        if now < self._looked_at_ms - _CLOCK_STEP_MS:
            sentence = f"the clock was set back by {(self._looked_at_ms - now) / 1000:.0f} s"
            self._assignment.begin_anew(ClockSetBack(sentence), now)
            self._committed_ms = 0
        self._looked_at_ms = now

    def _watch_source(self, now: int) -> None:
        """A topic made anew or with another number of partitions stops all work on it (§6.3, §6.6)."""
        problem = self._source.look(now)
        if problem:
            for partition in list(self._assignment.runners):
                self._assignment.stop(partition, SourceChanged(problem), now)

    def _commit(self, now: int) -> None:
        """Kafka's committed offsets: for lag tools and autoscaling only (§6.7)."""
        if now - self._committed_ms < _COMMIT_MS:
            return
        self._committed_ms = now
        places = []
        for p, runner in self._assignment.runners.items():
            if runner.acknowledged is not None:
                places.append(TopicPartition(self._topic, p, runner.acknowledged))
                runner.acknowledged = None
        if places:
            try:
                self._consumer.commit(offsets=places, asynchronous=True)
            except KafkaException as error:
                log.info("offsets not committed; lag tools see older ones", extra={"error": str(error)})


def choose(featuresets: list[FeatureSet], name: str | None) -> FeatureSet:
    """The FeatureSet that this process is for. Raises ConfigurationError if that is not clear."""
    names = ", ".join(sorted(fs.name for fs in featuresets))
    chosen = [fs for fs in featuresets if name in (None, fs.name)]
    if len(chosen) != 1:
        wanted = f'there is no FeatureSet "{name}"' if name else "a processor works on one FeatureSet"
        raise ConfigurationError(f"FRESHET_FEATURESET: {wanted}; the manifests hold {names}: name one of them")
    return chosen[0]
