"""What a manifest means, resolved: no defaults left to fill, no text left to parse.

`freshet.spec.compile` makes it from a manifest; the engine, the oracle of the tests and the planner read it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from freshet.spec.expr.tree import Expr, Type, names


class Aggregate(StrEnum):
    """The aggregates that this version computes; each has its file in `freshet.engine.aggregates`."""

    COUNT = "count"
    SUM = "sum"
    MEAN = "mean"
    MIN = "min"
    MAX = "max"
    STDDEV = "stddev"
    VARIANCE = "variance"
    FIRST = "first"
    LAST = "last"
    RATE = "rate"
    TREND = "trend"
    EWMA = "ewma"
    DISTINCT = "distinct"
    MODE = "mode"
    PERCENTILE = "percentile"
    LAST_N = "last_n"
    TIME_SINCE_FIRST = "time_since_first"
    TIME_SINCE_LAST = "time_since_last"
    SESSION_ACTIVE = "session_active"
    SESSION_COUNT = "session_count"
    SESSION_DURATION = "session_duration"


TEXT_CHARACTERS = 256
"""So many characters of a text are kept in states; the whole text is counted and compared."""

ENTITY_BYTES = 1_048_576
"""Default of `limits.entityBytes`."""

LATER = {"later": True}
"""Marks what came after the first canonical form: left out of it where it has its default (`freshet.spec.revision`)."""


@dataclass(frozen=True, slots=True)
class Field:
    """An event field that expressions may use."""

    name: str
    type: Type
    """DOUBLE, INTEGER, TEXT or BOOLEAN."""
    path: tuple[str, ...]
    """Where in the JSON object it stands."""
    required: bool = False
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """A sliding window: at read time q it holds floor_hop(q - length) <= t < q (design §5)."""

    length_ms: int
    hop_ms: int
    text: str
    """As the manifest wrote it, for example `24h`: the suffix of feature names."""


@dataclass(frozen=True, slots=True)
class Input:
    """Which events an aggregate sees and which value of each: what accumulators are shared by."""

    of: Expr | None
    """Over event fields; None for aggregates of the events themselves. Null values are skipped."""
    where: Expr | None
    """BOOLEAN over event fields; only true counts. None: every event."""


@dataclass(frozen=True, slots=True)
class AggregateFeature:
    """One served value that is computed from events."""

    name: str
    """As it is read: `<feature>_<window>`, or the feature's own name over the lifetime."""
    base: str
    """The manifest's `name:`."""
    aggregate: Aggregate
    input: Input
    window: Window | None
    """None: over the entity's whole life."""
    type: Type
    unit_ms: int = 1000
    """Of rate (events a unit), trend (value a unit), time_since_* and session_duration (units)."""
    gap_ms: int = 0
    """Of session_*: a session covers [first event, last event + gap)."""
    half_life_ms: int = 0
    """Of ewma."""
    n: int = field(default=0, metadata=LATER)
    """Of last_n: how many values."""
    quantile: float = field(default=0.0, metadata=LATER)
    """Of percentile: 0 to 1."""
    default: float | bool | str | None = None
    """Served where the value would be null."""


@dataclass(frozen=True, slots=True)
class ExpressionFeature:
    """One served value that is computed from others at read time."""

    name: str
    expr: Expr
    type: Type
    default: float | bool | str | None = None


Feature = AggregateFeature | ExpressionFeature


@dataclass(frozen=True, slots=True)
class Definition:
    """The part of a FeatureSet that decides values. Equal definitions have equal revisions.

    Attributes of time are whole milliseconds.
    """

    entity: str
    """The entity kind, for example `user`."""
    key: str
    """The event field that names the entity; also the name of the key in expressions and answers."""
    timezone: str
    """IANA name, for extract() and dates."""
    timestamp: str
    event_id: str
    deduplicate_ms: int
    """0: no duplicate filter."""
    max_future_skew_ms: int
    fields: tuple[Field, ...]
    features: tuple[Feature, ...]
    """In the manifest's order."""
    evaluation: tuple[int, ...]
    """Indices into `features`: an order in which every expression comes after what it reads."""
    revision: str
    """10 hexadecimal digits of the SHA-256 of the canonical definition and its log: see `freshet.spec.revision`."""
    entity_bytes: int = field(default=ENTITY_BYTES, metadata=LATER)
    """What the annex of an entity may weigh before its sets become sketches."""

    def feature(self, name: str) -> Feature:
        """The feature of this name. Raises KeyError."""
        for feature in self.features:
            if feature.name == name:
                return feature
        raise KeyError(name)

    @property
    def windows(self) -> tuple[Window, ...]:
        """The distinct windows, shortest first."""
        found = {f.window for f in self.features if isinstance(f, AggregateFeature) and f.window}
        return tuple(sorted(found))

    @property
    def has_lifetime(self) -> bool:
        """Whether some value depends on events older than every window."""
        return any(
            f.window is None
            if isinstance(f, AggregateFeature)
            else not {"first_seen", "last_seen"}.isdisjoint(names(f.expr))
            for f in self.features
        )


@dataclass(frozen=True, slots=True)
class Source:
    """The topic that a FeatureSet reads: its log E (design §5)."""

    topic: str
    partitions: int
    replication: int
    retention_ms: int
    manage: bool
    partitioner: str
    """`murmur2` or `consistent`."""
    origin: str | None = None
    """The topic that events come in on, where they are keyed by something else: `freshet rekey` copies those of the
    entity into `topic`. None: events come in on `topic` itself."""

    @property
    def intake(self) -> str:
        """The topic that events are sent to."""
        return self.origin or self.topic


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """One manifest, compiled."""

    name: str
    version: str
    definition: Definition
    source: Source
    output_topic: str | None
    """Topic of feature vectors; None: none are sent."""
    output_every_ms: int
    entity_ttl_ms: int | None
    """None: the state's own rule (design §6.10)."""
    history_events_ms: int = 30 * 86_400_000
    """How long the events of its topic are kept in history."""
    history_snapshots_ms: int = 90 * 86_400_000
    """How long its feature vectors are kept in history."""
    namespace: str | None = None
    """As the manifest has it: the part of keys and consumer groups that tells clusters' tenants apart.
    None: the service's own setting FRESHET_NAMESPACE decides."""
