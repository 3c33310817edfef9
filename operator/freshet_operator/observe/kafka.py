"""What Kafka says about topics and consumer groups: asked for all FeatureSets together, seldom while it is away."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from freshet_operator import metrics
from freshet_operator.model import KafkaSeen, Topic, TopicSeen
from freshet_operator.observe import kafka_calls as calls
from freshet_operator.observe.offsets import CommittedOffsets

_log = logging.getLogger(__name__)

AGE_SECONDS = 10.0
"""What was read is used for this long."""
PAUSE_SECONDS = 5.0
"""Time between two tries while Kafka does not answer."""
_GATHER_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Interest:
    """What a FeatureSet wants to know."""

    topics: frozenset[str] = frozenset()
    source: str | None = None
    group: str | None = None


@dataclass(slots=True)
class _Round:
    """One set of questions that are asked together."""

    topics: set[str] = field(default_factory=set)
    sources: set[str] = field(default_factory=set)
    """Topics whose ends are wanted."""
    task: asyncio.Task[None] | None = None


class Kafka:
    """Answers from memory, or asks; never raises for reading, never blocks for long."""

    def __init__(
        self,
        client: AdminClient,
        consumer: Callable[[str], Consumer],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`consumer` makes one of a group, which is closed again."""
        self._client = client
        self._clock = clock
        self._committed = CommittedOffsets(client, consumer, clock)
        self._topics: dict[str, tuple[float, TopicSeen | str | None]] = {}
        self._ends: dict[str, tuple[float, calls.Ends]] = {}
        self._new: set[str] = set()
        self._next = _Round()
        self._one_at_a_time = asyncio.Lock()
        self._error: str | None = None
        self._try_at = 0.0

    async def seen(self, interest: Interest, *, running: bool = False) -> KafkaSeen:
        """Topics, lag or the error. While Kafka is away this answers at once and tries again in the background.

        `running`: processors say themselves how far they are, so that lag is not asked for.
        """
        if running and interest.group:
            self._committed.forget(interest.group)
        source = interest.source if interest.group and not running else None
        now = self._clock()
        topics = {name for name in interest.topics if now - self._at(self._topics, name) > AGE_SECONDS}
        sources = {source} if source and now - self._at(self._ends, source) > AGE_SECONDS else set()
        if topics or sources:
            if self._error is not None and now < self._try_at:
                return KafkaSeen(error=self._error)
            task = self._ask(topics, sources)
            if self._error is not None:
                return KafkaSeen(error=self._error)
            await asyncio.shield(task)
        if self._error is not None:
            return KafkaSeen(error=self._error)
        found = {name: self._topics.get(name, (0.0, None))[1] for name in sorted(interest.topics)}
        denied = "; ".join(said for said in found.values() if isinstance(said, str))
        topics_seen = {name: topic for name, topic in found.items() if isinstance(topic, TopicSeen)}
        return KafkaSeen(topics_seen, self._lag(interest.group, source), denied or None)

    def _lag(self, group: str | None, source: str | None) -> int | None:
        """Records that are still kept and not committed; a partition without a commit counts from its first one."""
        ends = self._ends[source][1] if source in self._ends else None
        if not group or not source or not ends:
            return None
        committed = self._committed.of(group, source, len(ends))
        if committed is None:
            return None
        return sum(max(0, last - max(committed.get(i, 0), first)) for i, (first, last) in ends.items())

    async def create_topic(self, topic: Topic) -> None:
        """Makes a topic; one that exists is left as it is. Raises KafkaException."""
        await calls.create_topic(self._client, topic)
        self._topics.pop(topic.name, None)

    async def delete_topic(self, name: str) -> None:
        """Deletes a topic if it exists. Raises KafkaException."""
        await calls.delete_topic(self._client, name)
        self._topics.pop(name, None)

    async def delete_group(self, name: str) -> None:
        """Deletes a consumer group if it exists. Raises KafkaException, for example while it has members."""
        await calls.delete_group(self._client, name)
        self._committed.forget(name)

    def keep(self, interests: Iterable[Interest]) -> None:
        """These are all: what none of them is interested in is forgotten, what is new is asked for with the next round.

        Else hundreds of them, looked at one after another by a new process, would be as many rounds.
        """
        interests = list(interests)
        topics = {name for interest in interests for name in interest.topics}
        self._new = topics - self._topics.keys()
        self._topics = {name: entry for name, entry in self._topics.items() if name in topics}
        self._ends = {name: entry for name, entry in self._ends.items() if name in topics}
        self._committed.keep(interest.group for interest in interests)

    @staticmethod
    def _at(entries: Mapping[str, tuple[float, object]], name: str) -> float:
        return entries[name][0] if name in entries else float("-inf")

    def _ask(self, topics: set[str], sources: set[str]) -> asyncio.Task[None]:
        this = self._next
        this.topics |= topics
        this.sources |= sources
        if this.task is None:
            this.task = asyncio.create_task(self._run(this))
        return this.task

    async def _run(self, this: _Round) -> None:
        await asyncio.sleep(_GATHER_SECONDS)  # others may join
        async with self._one_at_a_time:
            self._next = _Round()
            if self._error is not None and self._clock() < self._try_at:
                return
            self._try_at = self._clock() + PAUSE_SECONDS
            try:
                await self._answer(this, self._clock())
            except KafkaException as error:
                self._failed(error.args[0])
                return
            metrics.KAFKA_REQUESTS.labels("success").inc()
            if self._error is not None:
                _log.info("Kafka answers again")
            self._error = None

    async def _answer(self, this: _Round, now: float) -> None:
        unknown = {name for name in this.sources if now - self._at(self._topics, name) > AGE_SECONDS}
        names = this.topics | unknown | self._new
        topics = await calls.describe(self._client, names)
        self._topics |= {name: (now, topics.get(name)) for name in names}
        self._new = set()
        seen = {name: self._topics[name][1] for name in this.sources}
        counts = {name: topic.partitions for name, topic in seen.items() if isinstance(topic, TopicSeen)}
        ends = await calls.ends(self._client, counts)
        self._ends |= {name: (now, ends.get(name, {})) for name in this.sources}

    def _failed(self, error: KafkaError) -> None:
        metrics.KAFKA_REQUESTS.labels("error").inc()
        said = f"{error.name()}: {error.str()}"
        if self._error != said:
            _log.warning("Kafka cannot be asked: %s", said)
        self._error = said
        self._try_at = self._clock() + PAUSE_SECONDS
