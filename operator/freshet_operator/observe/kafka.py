"""What Kafka says about topics and consumer groups: asked for all FeatureSets together, seldom while it is away."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from freshet_operator import metrics
from freshet_operator.model import KafkaSeen, Topic, TopicSeen
from freshet_operator.observe import kafka_calls as calls

_log = logging.getLogger(__name__)

AGE_SECONDS = 10.0
"""What was read is used for this long."""
ENDS_SECONDS = 5.0
"""The same, of the ends of a topic's partitions."""
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
    groups: dict[str, str] = field(default_factory=dict)
    task: asyncio.Task[None] | None = None


class Kafka:
    """Answers from memory, or asks; never raises for reading, never blocks for long."""

    def __init__(self, client: AdminClient, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._topics: dict[str, tuple[float, TopicSeen | str | None]] = {}
        self._lags: dict[str, tuple[float, int | None]] = {}
        self._ends: dict[str, tuple[float, calls.Ends]] = {}
        self._interests: tuple[Interest, ...] = ()
        self._next = _Round()
        self._one_at_a_time = asyncio.Lock()
        self._error: str | None = None
        self._try_at = 0.0

    async def seen(self, interest: Interest) -> KafkaSeen:
        """Topics, lag or the error. While Kafka is away this answers at once and tries again in the background."""
        now = self._clock()
        topics = {name for name in interest.topics if now - self._at(self._topics, name) > AGE_SECONDS}
        groups = {}
        if interest.group and interest.source and now - self._at(self._lags, interest.group) > AGE_SECONDS:
            groups[interest.group] = interest.source
        if topics or groups:
            if self._error is not None and now < self._try_at:
                return KafkaSeen(error=self._error)
            task = self._ask(topics, groups)
            if self._error is not None:
                return KafkaSeen(error=self._error)
            await asyncio.shield(task)
        if self._error is not None:
            return KafkaSeen(error=self._error)
        found = {name: self._topics.get(name, (0.0, None))[1] for name in sorted(interest.topics)}
        denied = "; ".join(said for said in found.values() if isinstance(said, str))
        lag = self._lags[interest.group][1] if interest.group in self._lags else None
        topics_seen = {name: topic for name, topic in found.items() if isinstance(topic, TopicSeen)}
        return KafkaSeen(topics_seen, lag, denied or None)

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
        self._lags.pop(name, None)

    def keep(self, interests: Iterable[Interest]) -> None:
        """These are all: what none of them is interested in is forgotten, what is new is asked for with the next round.

        Else hundreds of them, looked at one after another by a new process, would be as many rounds.
        """
        self._interests = interests = tuple(interests)
        topics = {name for interest in interests for name in interest.topics}
        groups = {interest.group for interest in interests}
        self._topics = {name: entry for name, entry in self._topics.items() if name in topics}
        self._lags = {name: entry for name, entry in self._lags.items() if name in groups}
        self._ends = {name: entry for name, entry in self._ends.items() if name in topics}

    @staticmethod
    def _at(entries: Mapping[str, tuple[float, object]], name: str) -> float:
        return entries[name][0] if name in entries else float("-inf")

    def _ask(self, topics: set[str], groups: dict[str, str]) -> asyncio.Task[None]:
        this = self._next
        this.topics |= topics
        this.groups |= groups
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
            began = self._clock()
            self._add_new(this)
            try:
                sources = set(this.groups.values())
                this.topics |= {name for name in sources if began - self._at(self._topics, name) > AGE_SECONDS}
                topics = await calls.describe(self._client, this.topics)
                self._topics |= {name: (began, topics.get(name)) for name in this.topics}
                lags = await calls.lags(self._client, this.groups, await self._ends_of(sources, began))
            except KafkaException as error:
                self._failed(error.args[0])
                return
            metrics.KAFKA_REQUESTS.labels("success").inc()
            if self._error is not None:
                _log.info("Kafka answers again")
            self._error = None
            self._interests = ()
            self._lags |= {group: (began, lags.get(group)) for group in this.groups}

    def _add_new(self, this: _Round) -> None:
        for interest in self._interests:
            this.topics |= interest.topics - self._topics.keys()
            if interest.group and interest.source and interest.group not in self._lags:
                this.groups[interest.group] = interest.source

    async def _ends_of(self, topics: set[str], now: float) -> dict[str, calls.Ends]:
        """Of the topics that exist; a few seconds old at most, as many groups read the same topic."""
        seen = {name: self._topics[name][1] for name in topics}
        counts = {name: topic.partitions for name, topic in seen.items() if isinstance(topic, TopicSeen)}
        stale = {name: count for name, count in counts.items() if now - self._at(self._ends, name) > ENDS_SECONDS}
        self._ends |= {name: (now, found) for name, found in (await calls.ends(self._client, stale)).items()}
        return {name: self._ends[name][1] for name in counts}

    def _failed(self, error: KafkaError) -> None:
        metrics.KAFKA_REQUESTS.labels("error").inc()
        said = f"{error.name()}: {error.str()}"
        if self._error != said:
            _log.warning("Kafka cannot be asked: %s", said)
        self._error = said
        self._try_at = self._clock() + PAUSE_SECONDS
