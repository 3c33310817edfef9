"""What a FeatureSet wants to know of Kafka and what it claims there; remembered while its spec is the same."""

from __future__ import annotations

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
from freshet_operator.store import Store, key_of


@dataclass(frozen=True, slots=True)
class _Known:
    uid: str
    generation: int
    topics: tuple[Topic, ...] = ()
    source: str | None = None
    revision: str | None = None


class Interests:
    """Compiles each generation of each FeatureSet once."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._known: dict[Key, _Known] = {}

    def learn(self, resource: Object) -> None:
        """Looks at a whole resource; what the store remembers of one has no spec."""
        if resource["kind"] == FEATURESET.kind:
            self._look(resource)

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

    def claims(self, but: Key) -> tuple[Claim, ...]:
        """Those of all other known FeatureSets."""
        return tuple(self._claim(other) for other in self._store.featuresets() if key_of(other) != but)

    def sharing(self, key: Key, resources: Iterable[Object | None]) -> list[Key]:
        """Other FeatureSets that use a topic, or the name, of one of these states of a FeatureSet."""
        topics = {topic.name for resource in resources if resource for topic in self._claim(resource).topics}
        topics.discard(self._settings.dead_letter_topic)  # everybody's
        found: list[Key] = []
        for other in self._store.featuresets():
            place = key_of(other)
            shared = not topics.isdisjoint(topic.name for topic in self._claim(other).topics)
            if place != key and (shared or place.name == key.name):
                found.append(place)
        return found

    def all(self) -> list[Interest]:
        """Those of all known FeatureSets."""
        return [self.of(resource) for resource in self._store.featuresets()]

    def forget(self, key: Key) -> None:
        """The FeatureSet is gone."""
        self._known.pop(key, None)

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
        if known is not None and (known.uid, known.generation) == (uid, generation):
            return known
        if "spec" not in resource:
            return known if known is not None and known.uid == uid else _Known(uid, generation)
        self._known[key] = known = self._compiled(uid, generation, resource)
        return known

    def _compiled(self, uid: str, generation: int, resource: Object) -> _Known:
        try:
            found = compiled(resource)
        except ManifestError:
            return _Known(uid, generation)
        topics = wanted_topics(found, self._settings)
        return _Known(uid, generation, topics, found.source.topic, found.definition.revision)
