"""What a FeatureSet asks for: windows, shared accumulators, bytes, retention; and what a change of it would do.

Pure: compiled manifests in, plain data out. `freshet.dev.plan_text` shows it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from freshet.engine.aggregates import AGGREGATES, ANNEX
from freshet.engine.layout import Layout
from freshet.engine.sessions import SESSION_AGGREGATES, WIDTH
from freshet.spec.compile_source import HOUR_MS, RETENTION_SLACK_MS
from freshet.spec.definition import AggregateFeature, Definition, FeatureSet
from freshet.spec.durations import duration_text
from freshet.spec.expr.text import expression_text
from freshet.spec.windows import most_tiles

LIGHT_EVENTS = 10
"""Of the entity whose state is called light: each in a tile of its own."""

_IN_PLACE = {
    "output_topic": "output.topic",
    "output_every_ms": "output.every",
    "entity_ttl_ms": "entityTtl",
    "source.retention_ms": "source.retention",
    "source.replication": "source.replication",
    "source.manage": "source.manage",
}
"""What changes without another revision, by the manifest's names."""
_LOG = {"source.topic": "source.topic", "source.partitions": "source.partitions"}
"""What never changes in one FeatureSet."""


@dataclass(frozen=True, slots=True)
class WindowPlan:
    """One window."""

    window: str
    hop: str
    tiles: int
    """The most tiles of its hop that an entity holds."""
    values: int
    """How many values are read over it."""


@dataclass(frozen=True, slots=True)
class SharedPlan:
    """One accumulator, and the values that read it."""

    accumulator: str
    of: str
    where: str
    span: str
    """`tiles`, `life` or `annex`."""
    bytes: int | None
    """Of it in a tile or in the life; None: as many as its contents need."""
    features: list[str]


@dataclass(frozen=True, slots=True)
class ChangePlan:
    """What it means to replace another manifest by this one."""

    rebuild: bool
    reasons: list[str]
    """Why states are built anew, by the manifest's names."""
    in_place: list[str]
    refused: list[str]
    """What a FeatureSet of this name may not change."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One FeatureSet."""

    name: str
    version: str
    revision: str
    entity: str
    values: int
    windows: list[WindowPlan]
    shared: list[SharedPlan]
    light_bytes: int
    worst_bytes: int
    annex_limit_bytes: int
    """Part of the worst: what distinct, mode, percentile and last_n may take; 0 where there are none."""
    retention_needed: str
    retention: str
    topic: str
    origin: str | None
    """The topic that `topic` is copied from; None: events come in on `topic`."""
    partitions: int
    warnings: list[str]
    change: ChangePlan | None

    def document(self) -> dict[str, Any]:
        """The plan as JSON values."""
        return asdict(self)


def plan_of(featureset: FeatureSet, before: FeatureSet | None = None) -> Plan:
    """The plan of a FeatureSet; with `before`, also of the change from it."""
    definition, source = featureset.definition, featureset.source
    layout = Layout(definition)
    tiles = most_tiles(layout.pyramid.windows) if layout.pyramid else 0
    limit = definition.entity_bytes if layout.annex.entries else 0
    needed = _retention_needed(definition)
    return Plan(
        name=featureset.name,
        version=featureset.version,
        revision=definition.revision,
        entity=f"{definition.entity} by {definition.key}",
        values=len(definition.features),
        windows=_windows(definition),
        shared=list(_shared(definition, layout)),
        light_bytes=_bytes(layout, min(LIGHT_EVENTS, tiles)),
        worst_bytes=_bytes(layout, tiles) + limit,
        annex_limit_bytes=limit,
        retention_needed=duration_text(-(-needed // HOUR_MS) * HOUR_MS),
        retention=duration_text(source.retention_ms),
        topic=source.topic,
        origin=source.origin,
        partitions=source.partitions,
        warnings=list(_warnings(featureset, needed)),
        change=_change(before, featureset) if before is not None else None,
    )


def _bytes(layout: Layout, tiles: int) -> int:
    return layout.front_bytes + max(tiles - 1, 0) * 8 * layout.tile_width


def _windows(definition: Definition) -> list[WindowPlan]:
    counts = dict.fromkeys(definition.windows, 0)
    for feature in definition.features:
        if isinstance(feature, AggregateFeature) and feature.window is not None:
            counts[feature.window] += 1
    return [WindowPlan(w.text, duration_text(w.hop_ms), most_tiles([w]), count) for w, count in counts.items()]


def _shared(definition: Definition, layout: Layout) -> Iterator[SharedPlan]:
    groups: dict[tuple[object, str], list[AggregateFeature]] = {}
    widths: dict[tuple[object, str], int | None] = {}
    for feature in definition.features:
        if not isinstance(feature, AggregateFeature):
            continue
        for name, span, width in _parts(feature):
            groups.setdefault((name, span), []).append(feature)
            widths[name, span] = width
    for (part, span), readers in groups.items():
        first = readers[0].input
        label = part if isinstance(part, str) else type(part).__name__.lower()
        yield SharedPlan(
            accumulator=label.split("|")[0],
            of=expression_text(first.of) if first.of is not None else "",
            where=expression_text(first.where) if first.where is not None else "",
            span=span,
            bytes=widths[part, span],
            features=[f.name for f in readers],
        )


def _parts(feature: AggregateFeature) -> Iterator[tuple[object, str, int | None]]:
    """The accumulators that a feature reads: each with its span and its bytes."""
    span = "life" if feature.window is None else "tiles"
    if feature.aggregate in ANNEX:
        yield ANNEX[feature.aggregate].part(feature), "annex", None
    elif feature.aggregate in SESSION_AGGREGATES:
        yield f"sessions|{feature.gap_ms}|{feature.input}", "life", 8 * WIDTH
    else:
        for accumulator in AGGREGATES[feature.aggregate].accumulators(feature):
            yield accumulator, span, 8 * accumulator.width


def _retention_needed(definition: Definition) -> int:
    longest = max((w.length_ms + w.hop_ms for w in definition.windows), default=0)
    return longest + definition.deduplicate_ms


def _warnings(featureset: FeatureSet, needed: int) -> Iterator[str]:
    source = featureset.source
    if not source.manage:
        yield (
            f"topic {source.topic} is not ours: if its timestamps are the producers' (CreateTime), lateness and the"
            " duplicate filter follow the producers' clocks; set message.timestamp.type=LogAppendTime"
        )
    if source.origin is not None:
        key = featureset.definition.key
        yield (
            f"freshet rekey copies the events of {source.origin} that have {key} into {source.topic}: each is kept once"
            f" more for {duration_text(source.retention_ms)}, and its broker time is that of the copy"
        )
        if not source.manage:
            yield (
                f"with manage: false {source.origin} and {source.topic} are yours to make, the second with"
                f" {source.partitions} partitions and a max.message.bytes not below the first's"
            )
    spare = source.retention_ms - needed
    if 0 <= spare < RETENTION_SLACK_MS:
        yield f"an outage of more than {duration_text(max(spare, 0))} would lose events that windows still need"
    if featureset.definition.has_lifetime and featureset.entity_ttl_ms is None:
        yield "values over the lifetime keep every entity for ever; entityTtl forgets those that are gone"


def _change(before: FeatureSet, after: FeatureSet) -> ChangePlan:
    reasons = list(_differences(before.definition, after.definition))
    flat_before, flat_after = _flat(before), _flat(after)
    in_place: list[str] = []
    refused: list[str] = []
    for name, shown in {**_IN_PLACE, **_LOG}.items():
        if flat_before[name] != flat_after[name]:
            text = f"{shown}: {_shown(name, flat_before[name])} → {_shown(name, flat_after[name])}"
            (refused if name in _LOG else in_place).append(text)
    if before.source.partitioner != after.source.partitioner:
        reasons.append(f"source.partitioner: {before.source.partitioner} → {after.source.partitioner}")
    if before.definition.key != after.definition.key or before.definition.entity != after.definition.entity:
        refused.append(f"entity: {before.definition.key} → {after.definition.key}")
    if before.version != after.version and not reasons:
        in_place.append(f"version: {before.version} → {after.version}")
    if reasons and before.version == after.version:
        refused.append(f"version: a changed definition needs another than {after.version}")
    return ChangePlan(before.definition.revision != after.definition.revision, reasons, in_place, refused)


def _flat(featureset: FeatureSet) -> dict[str, Any]:
    out = {f"source.{f.name}": getattr(featureset.source, f.name) for f in fields(featureset.source)}
    return out | {f.name: getattr(featureset, f.name) for f in fields(featureset)}


def _shown(name: str, value: Any) -> str:
    if value is None:
        return "none"
    return duration_text(value) if name.endswith("_ms") else str(value)


def _differences(before: Definition, after: Definition) -> Iterator[str]:
    """Why two definitions are not one, each reason by the manifest's names."""
    for name, shown in (
        ("timezone", "timezone"),
        ("timestamp", "source.timestamp"),
        ("event_id", "source.eventId"),
        ("deduplicate_ms", "source.deduplicate"),
        ("max_future_skew_ms", "source.maxFutureSkew"),
        ("entity_bytes", "limits.entityBytes"),
    ):
        old, new = getattr(before, name), getattr(after, name)
        if old != new:
            yield f"{shown}: {_shown(name, old)} → {_shown(name, new)}"
    yield from _named("source.fields", {f.name: f for f in before.fields}, {f.name: f for f in after.fields})
    old_features, new_features = ({f.name: f for f in d.features} for d in (before, after))
    yield from _named("features", old_features, new_features)
    if list(old_features) != list(new_features) and set(old_features) == set(new_features):
        yield "features: their order"


def _named(where: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for name in after:
        if name not in before:
            yield f"{where}: {name} is new"
        elif type(before[name]) is not type(after[name]):
            yield f"{where}: {name} is another kind"
        elif before[name] != after[name]:
            pairs = ((f.name, getattr(before[name], f.name), getattr(after[name], f.name)) for f in fields(after[name]))
            changed = [_WORDS.get(one, one) for one, old, new in pairs if old != new]
            yield f"{where}: {name} has another {', '.join(changed)}"
    for name in before:
        if name not in after:
            yield f"{where}: {name} is gone"


_WORDS = {
    "input": "of or where",
    "window": "granularity",
    "expr": "expression",
    "unit_ms": "unit",
    "gap_ms": "gap",
    "half_life_ms": "halfLife",
    "quantile": "percentile",
}
"""The manifest's words for what a definition calls otherwise."""
