"""What each FeatureSet wants to know of Kafka and what it claims there; compiled once for each generation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from freshet.spec.naming import consumer_group
from freshet.spec.problems import ManifestError
from freshet_operator.api.kinds import FEATURESET
from freshet_operator.desired.topics import wanted_topics
from freshet_operator.model import Claim, Key, Object, Topic
from freshet_operator.observe.kafka import Interest
from freshet_operator.plan.compiled import compiled
from freshet_operator.settings import Settings
from freshet_operator.store import key_of


@dataclass(frozen=True, slots=True)
class _Known:
    uid: str
    generation: int
    topics: tuple[Topic, ...] = ()
    source: str | None = None
    revision: str | None = None


class Interests:
    """Knows all FeatureSets; finds those that have something in common without looking at all of them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._known: dict[Key, _Known] = {}
        self._claims: dict[Key, Claim] = {}
        self._interests: dict[Key, Interest] = {}
        self._places: dict[str, set[Key]] = defaultdict(set)

    def learn(self, resource: Object) -> None:
        """A FeatureSet is like this now; other kinds are passed over."""
        if resource["kind"] != FEATURESET.kind:
            return
        key = key_of(resource)
        self._leave(key)
        self._claims[key] = claim = self._claim(resource)
        self._interests[key] = self.of(resource)
        for place in self._index(key, claim):
            self._places[place].add(key)

    def forget(self, key: Key) -> None:
        """The FeatureSet is gone."""
        self._leave(key)
        for table in (self._known, self._claims, self._interests):
            table.pop(key, None)

    def of(self, resource: Object) -> Interest:
        """The topics of its spec and of its status, and the consumer group of what is served."""
        known = self._look(resource)
        status = resource.get("status") or {}
        used = [topic["name"] for topic in status.get("topics") or ()]
        names = {*used, *(topic.name for topic in known.topics)}
        meta = resource["metadata"]
        revision = (status.get("serving") or {}).get("revision") or known.revision
        group = consumer_group(meta["namespace"], meta["name"], revision) if revision else None
        return Interest(frozenset(names), known.source or (used[0] if used else None), group)

    def all(self) -> Iterable[Interest]:
        """Those of all FeatureSets."""
        return self._interests.values()

    def sharing(self, key: Key) -> list[Key]:
        """The other FeatureSets that use one of its topics, or its name."""
        claim = self._claims.get(key)
        if claim is None:
            return []
        places = {f"name {key.name}", *(f"topic {topic.name}" for topic in claim.topics)}
        if claim.topics and claim.topics[0].name == self._settings.dead_letter_topic:
            return [other for other in self._claims if other != key]
        found = set().union(*(self._places.get(place, ()) for place in places))
        return sorted(found - {key})

    def claims(self, key: Key) -> tuple[Claim, ...]:
        """What those claim."""
        return tuple(self._claims[other] for other in self.sharing(key))

    def _index(self, key: Key, claim: Claim) -> list[str]:
        """Where others find it. The topic of dead letters is everybody's: it only matters to whom it is the source."""
        names = [topic.name for i, topic in enumerate(claim.topics) if i == 0 or not self._is_dead_letters(topic)]
        return [f"name {key.name}", *(f"topic {name}" for name in names)]

    def _is_dead_letters(self, topic: Topic) -> bool:
        return topic.name == self._settings.dead_letter_topic

    def _leave(self, key: Key) -> None:
        claim = self._claims.get(key)
        for place in self._index(key, claim) if claim is not None else ():
            self._places[place].discard(key)
            if not self._places[place]:
                del self._places[place]

    def _claim(self, resource: Object) -> Claim:
        """What its status says it uses is claimed too, though not how it is: the spec may be invalid just now."""
        meta = resource["metadata"]
        wanted = self._look(resource).topics
        named = {topic.name for topic in wanted}
        used = tuple(
            Topic(topic["name"], int(topic.get("partitions") or 0), 0, (), False)
            for topic in (resource.get("status") or {}).get("topics") or ()
            if topic["name"] not in named
        )
        return Claim(
            namespace=meta["namespace"],
            name=meta["name"],
            created=meta.get("creationTimestamp", ""),
            topics=(*wanted, *used),
            deleting="deletionTimestamp" in meta,
        )

    def _look(self, resource: Object) -> _Known:
        key, meta = key_of(resource), resource["metadata"]
        uid, generation = str(meta.get("uid")), int(meta.get("generation") or 0)
        known = self._known.get(key)
        if known is None or (known.uid, known.generation) != (uid, generation):
            self._known[key] = known = self._compiled(uid, generation, resource)
        return known

    def _compiled(self, uid: str, generation: int, resource: Object) -> _Known:
        try:
            found = compiled(resource)
        except ManifestError:
            return _Known(uid, generation)
        topics = wanted_topics(found, self._settings)
        return _Known(uid, generation, topics, found.source.topic, found.definition.revision)
