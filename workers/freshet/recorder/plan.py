"""What a configuration means for the recorder, compiled once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from freshet.recorder.judge import Judge
from freshet.recorder.topics import Recorded, Retention, Role, retention_of, topics_of
from freshet.spec.definition import FeatureSet


@dataclass(frozen=True, slots=True)
class Plan:
    """Never changes."""

    featuresets: tuple[FeatureSet, ...]
    topics: Mapping[str, Recorded]
    judges: Mapping[str, Judge]
    """By source topic."""
    retention: Retention
    key_fields: Mapping[str, str]
    """By `namespace/featureset` the event field that names the entity."""
    sources: Mapping[str, str]
    """Source topics by the FeatureSet's name, as vectors give it."""

    def readers(self) -> dict[str, set[str]]:
        """Names of the FeatureSets by source topic."""
        found: dict[str, set[str]] = {}
        for name, topic in self.sources.items():
            found.setdefault(topic, set()).add(name)
        return found

    @classmethod
    def of(
        cls, featuresets: Sequence[FeatureSet], namespace: str, dead_letter_topic: str, before: Plan | None = None
    ) -> Plan:
        """Compiles. What did not change since `before` stays the same object."""
        topics = topics_of(featuresets, namespace, dead_letter_topic)
        judges = {}
        for name, topic in topics.items():
            if topic.role is not Role.EVENTS:
                continue
            same = before is not None and before.topics.get(name) == topic
            judges[name] = before.judges[name] if before and same else Judge(topic.featuresets, namespace)
        return cls(
            tuple(featuresets),
            topics,
            judges,
            retention_of(featuresets),
            {f"{fs.namespace or namespace}/{fs.name}": fs.definition.key for fs in featuresets},
            {fs.name: fs.source.topic for fs in featuresets},
        )
