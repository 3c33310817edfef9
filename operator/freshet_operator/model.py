"""What passes between observe, desired, plan and apply: snapshots and intentions, no behaviour.

Kubernetes objects are plain dictionaries as the API server gives and takes them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from freshet.spec.topics import Topic as Topic

Object = dict[str, Any]

Verb = Literal["apply", "delete", "create-topic", "delete-topic", "delete-group", "add-finalizer", "remove-finalizer"]


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """What one reconcile is about; the unit of the work queue."""

    kind: Literal["FeatureSet", "Experiment", "Serving"]
    """Serving: the one serving ConfigMap of this installation; its namespace and name are the ConfigMap's."""
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class TopicSeen:
    """A topic as Kafka describes it."""

    name: str
    partitions: int
    topic_id: str
    timestamp_type: str | None
    """None: the configuration may not be read."""
    retention_ms: int | None


@dataclass(frozen=True, slots=True)
class KafkaSeen:
    """What Kafka says about a FeatureSet's topics and its consumer group."""

    topics: dict[str, TopicSeen] = field(default_factory=dict)
    """Those that exist."""
    lag: int | None = None
    """Events of the source topic that processors have yet to take, by their own account, or, while none runs, those
    that their group has not committed; None: unknown."""
    error: str | None = None
    """Kafka could not be asked: why, without secrets. The rest then says nothing."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What the processor pods measure, together."""

    pods: int
    """That answered."""
    busy: float | None
    """Share of time the busiest pod computes, 0 to 1; None on its first look."""
    freshness_ms: float | None
    """Of events of the last interval, 99th percentile; None without events."""
    lag: int | None = None
    """Events of the source topic that are not in the states yet; None: no pod has a partition."""


@dataclass(frozen=True, slots=True)
class Work:
    """What one processor says of the partitions that Kafka gave it."""

    owned: frozenset[int]
    """That it works on, those that it rebuilds among them."""
    rebuilding: frozenset[int] = frozenset()
    """Not complete yet: their entities cannot be read."""
    stopped: dict[int, str] = field(default_factory=dict)
    """That it cannot work on → why, one word."""
    problem: str = ""
    """Why it works on nothing at all; empty: it does."""

    @property
    def is_calm(self) -> bool:
        """Whether it has nothing to wait for."""
        return not self.rebuilding and not self.stopped and not self.problem


@dataclass(frozen=True, slots=True)
class Claim:
    """That another FeatureSet uses a topic or a name."""

    namespace: str
    name: str
    created: str
    """creationTimestamp: the oldest wins."""
    topics: tuple[Topic, ...]
    """All that it uses, its source first; those with manage it makes if they are missing. Replication 0: the
    settings are not known."""
    deleting: bool = False


@dataclass(frozen=True, slots=True)
class ServingSeen:
    """The serving ConfigMap and which pods run it."""

    entries: dict[str, str]
    """What the ConfigMap serves: "namespace/name" → hash of the entry (see desired.serving.entry_hash)."""
    hash: str | None
    """Of the whole ConfigMap as written; None: there is none."""
    pods: dict[str, str | None]
    """Serving or ingest pod → hash of the configuration it runs; None: it does not answer."""
    error: str | None = None
    """Why the ConfigMap cannot be written as it should be; None: it can."""


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything that one reconcile of a FeatureSet looks at. Read live, at one time."""

    resource: Object
    """The FeatureSet."""
    children: tuple[Object, ...]
    """Live objects with our labels, of the kinds in api.kinds.CHILDREN."""
    pods: tuple[Object, ...]
    """The processor pods."""
    kafka: KafkaSeen
    claims: tuple[Claim, ...]
    """Of all other FeatureSets of this Kafka."""
    serving: ServingSeen
    figures: Figures | None
    """None: no pod could be asked."""
    work: dict[str, Work]
    """Processor pod → what it says; without those that do not answer."""
    namespace_terminating: bool = False
    unreadable: tuple[str, ...] = ()
    """Namespaces whose FeatureSets ought to be known and cannot be read: what they claim is not in `claims`."""


@dataclass(frozen=True, slots=True)
class Desired:
    """What a valid FeatureSet asks for."""

    objects: tuple[Object, ...]
    """Children in the order in which they are applied, each with its HASH annotation."""
    topics: tuple[Topic, ...]
    entry: Object | None
    """Its entry in the serving configuration; None: it is not served."""


@dataclass(frozen=True, slots=True)
class Write:
    """One change of the cluster or of Kafka. Done in the order of the plan; each may be repeated."""

    verb: Literal[
        "apply", "delete", "create-topic", "delete-topic", "delete-group", "add-finalizer", "remove-finalizer"
    ]
    what: str
    """For logs and events: "Deployment user-activity-0a1b2c3d4e"."""
    object: Object | None = None
    """Of apply (the whole intent) and delete (apiVersion, kind, metadata.name, metadata.uid)."""
    topic: Topic | None = None
    name: str = ""
    """Of delete-topic and delete-group."""


@dataclass(frozen=True, slots=True)
class Event:
    """A transition worth telling, for `kubectl describe`."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What one reconcile does."""

    writes: tuple[Write, ...]
    status: Object
    """The whole new status."""
    events: tuple[Event, ...]
    requeue_after: float
    """Seconds until the next look, whatever happens."""
    serving_changed: bool = False
    """The serving ConfigMap has to be looked at."""
