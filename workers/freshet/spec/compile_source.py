"""Bounds of a definition's size, and what its topic must keep for it."""

from __future__ import annotations

from collections.abc import Sequence

from freshet.spec.definition import (
    TEXT_CHARACTERS,
    Aggregate,
    AggregateFeature,
    Definition,
    Feature,
    Input,
    Source,
    Window,
)
from freshet.spec.durations import duration_text, parse_duration
from freshet.spec.expr.tree import Type
from freshet.spec.manifest import SpecModel
from freshet.spec.naming import rekeyed_topic
from freshet.spec.problems import Path, Problem
from freshet.spec.windows import most_tiles

MOST_VALUES = 500
"""Served values of a feature set: its features times their windows."""

MOST_TOPIC_CHARACTERS = 249
"""Kafka's own limit."""

MOST_WINDOWS = 16
"""Different windows of a feature set."""

MOST_STATE_BYTES = 1024 * 1024
"""Of one entity's state when every tile is in use."""

_TILE_BYTES = 24
"""About what one aggregate takes in one tile."""

LEAST_BYTES = {Aggregate.DISTINCT: 136, Aggregate.MODE: 16, Aggregate.PERCENTILE: 760, Aggregate.LAST_N: 24}
"""What a bag takes at its coarsest (last_n: a value): 64 registers, a mark, 95 buckets, three words."""

_BAG_BYTES, _TEXT_BYTES = 16, 16
"""Beside what is in it."""

HOUR_MS = parse_duration("1h")
DEFAULT_RETENTION_MS = parse_duration("8d")
RETENTION_SLACK_MS = parse_duration("1d")
"""What the default retention leaves beyond the horizon, so that a day's outage loses nothing."""


def check_bounds(features: Sequence[Feature], entity_bytes: int, problems: list[Problem]) -> None:
    """Problems of a feature set that is too large to be read in a few microseconds or kept in memory."""
    path: Path = ("spec", "features")
    aggregates = [f for f in features if isinstance(f, AggregateFeature)]
    columns = {(f.input, f.aggregate) for f in aggregates if f.window and f.aggregate not in LEAST_BYTES}
    windows = {f.window for f in aggregates if f.window}
    if len(features) > MOST_VALUES:
        message = f"give {len(features)} values, features times windows; at most {MOST_VALUES} are allowed"
        problems.append(Problem(path, message))
    if len(windows) > MOST_WINDOWS:
        message = f"have {len(windows)} different windows; at most {MOST_WINDOWS} are allowed"
        problems.append(Problem(path, message))
    tiles = most_tiles(windows)
    size = tiles * len(columns) * _TILE_BYTES
    if size > MOST_STATE_BYTES:
        message = (
            f"could make the state of one entity {size // 1024} KiB large, {tiles} tiles of {len(columns)} aggregates;"
            f" at most {MOST_STATE_BYTES // 1024} KiB are allowed: use fewer windows or a coarser granularity"
        )
        problems.append(Problem(path, message))
    least = least_annex_bytes(aggregates)
    if least > entity_bytes:
        message = (
            f"could take {-(-least // 1024)} KiB of one entity for distinct, mode, percentile and last_n, as coarse as"
            f" they may become, and limits.entityBytes allows {entity_bytes // 1024} KiB: use fewer windows, a coarser"
            " granularity, a smaller n, or a larger limit"
        )
        problems.append(Problem(path, message))


def least_annex_bytes(features: Sequence[AggregateFeature]) -> int:
    """The most bytes that an entity's parts without a fixed width take once they are as coarse as they can be."""
    windows: dict[tuple[object, ...], set[Window]] = {}
    for f in features:
        if f.aggregate in LEAST_BYTES:
            found = windows.setdefault((f.aggregate, f.input, f.n, f.window is None), set())
            if f.window is not None:
                found.add(f.window)
    total = 0
    for (aggregate, wanted, n, _), some in windows.items():
        assert isinstance(aggregate, Aggregate)
        assert isinstance(wanted, Input)
        assert isinstance(n, int)
        tiles = most_tiles(some) if some and aggregate is not Aggregate.LAST_N else 1
        value = LEAST_BYTES[aggregate] * max(n, 1)
        if aggregate is Aggregate.LAST_N and wanted.of is not None and wanted.of.type is Type.TEXT:
            value += n * (_TEXT_BYTES + 4 * TEXT_CHARACTERS)
        total += tiles * (_BAG_BYTES + value)
    return total


def compile_source(spec: SpecModel, definition: Definition, problems: list[Problem]) -> Source:
    """The topic that is read; problems where it cannot hold what the windows need."""
    source = spec.source
    longest = max(definition.windows, default=None)
    hop = max((window.hop_ms for window in definition.windows), default=0)
    span = longest.length_ms if longest else 0
    needed = span + hop + source.deduplicate
    retention = source.retention or max(DEFAULT_RETENTION_MS, needed + RETENTION_SLACK_MS)
    if longest and retention < needed:
        message = (
            f"{duration_text(retention)} is less than the longest window ({longest.text}), a hop ({duration_text(hop)})"
            f" and deduplicate ({duration_text(source.deduplicate)}) together: a lost state could not be rebuilt; use"
            f" at least {-(-needed // HOUR_MS)}h"
        )
        problems.append(Problem(("spec", "source", "retention"), message))
    if longest and spec.entityTtl is not None and spec.entityTtl < span + hop:
        message = f"must be at least the longest window ({longest.text}) and its hop, or windows would lose events"
        problems.append(Problem(("spec", "entityTtl"), message))
    topic = topic_read(spec)
    if len(topic) > MOST_TOPIC_CHARACTERS:
        message = (
            f"with rekey the topic {topic} is made, which has {len(topic)} characters; at most {MOST_TOPIC_CHARACTERS}"
            " are allowed: use a shorter topic or entity"
        )
        problems.append(Problem(("spec", "source", "topic"), message))
    if spec.output and spec.output.topic in (source.topic, topic):
        problems.append(Problem(("spec", "output", "topic"), "is the topic that is read; vectors need their own"))
    if "maxReplicas" in spec.processor.model_fields_set and spec.processor.maxReplicas > source.partitions:
        message = f"must be at most partitions ({source.partitions}): more processors would have nothing to read"
        problems.append(Problem(("spec", "processor", "maxReplicas"), message))
    if source.rekey and spec.processor.minReplicas == 0:
        message = "must be at least 1 with source.rekey: what copies the events runs beside the processors"
        problems.append(Problem(("spec", "processor", "minReplicas"), message))
    return Source(
        topic=topic,
        partitions=source.partitions,
        replication=source.replication,
        retention_ms=retention,
        manage=source.manage,
        partitioner=source.partitioner,
        origin=source.topic if source.rekey else None,
    )


def topic_read(spec: SpecModel) -> str:
    """The topic whose records are the log of the FeatureSet: with rekey not the one that events come in on."""
    topic = spec.source.topic
    return rekeyed_topic(topic, spec.entity.name) if spec.source.rekey else topic
