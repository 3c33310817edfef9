"""Which topics are recorded, as what, and for how long: a function of the FeatureSets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from freshet.spec.definition import FeatureSet


class Role(StrEnum):
    """What the records of a topic are; the value is the table that they go to."""

    EVENTS = "event_log"
    VECTORS = "feature_snapshots"
    DEAD_LETTERS = "dead_letters"


@dataclass(frozen=True, slots=True)
class Recorded:
    """A topic as it is recorded."""

    name: str
    role: Role
    featuresets: tuple[FeatureSet, ...] = ()
    """Of a source topic: those that read it, by namespace and name."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How long rows are kept, in milliseconds of broker time; None: for ever, as nobody says how long."""

    events_ms: int | None
    snapshots_ms: int | None


def topics_of(featuresets: Iterable[FeatureSet], namespace: str, dead_letter_topic: str) -> Mapping[str, Recorded]:
    """The topics by name. One that is the source of some FeatureSet is recorded as such, whatever else it is."""
    ordered = sorted(featuresets, key=lambda fs: (fs.namespace or namespace, fs.name))
    found: dict[str, Recorded] = {}
    for featureset in ordered:
        name = featureset.source.topic
        others = found[name].featuresets if name in found else ()
        found[name] = Recorded(name, Role.EVENTS, (*others, featureset))
    for featureset in ordered:
        if featureset.output_topic is not None:
            found.setdefault(featureset.output_topic, Recorded(featureset.output_topic, Role.VECTORS))
    if ordered:
        found.setdefault(dead_letter_topic, Recorded(dead_letter_topic, Role.DEAD_LETTERS))
    return found


def retention_of(featuresets: Iterable[FeatureSet]) -> Retention:
    """The longest that any FeatureSet asks for: tables are shared, and a day of them is dropped as a whole."""
    known = list(featuresets)
    return Retention(
        max((fs.history_events_ms for fs in known), default=None),
        max((fs.history_snapshots_ms for fs in known), default=None),
    )
