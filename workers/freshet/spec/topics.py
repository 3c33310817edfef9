"""Which topics a FeatureSet wants, and what they have to be like; nobody is asked for it."""

from __future__ import annotations

from dataclasses import dataclass

from freshet.spec.definition import Definition, FeatureSet

_DAY_MS = 86_400_000
_OUTPUT_RETENTION_MS = 7 * _DAY_MS  # vectors are a stream of changes; history keeps what has to stay
_DEAD_LETTER_RETENTION_MS = 30 * _DAY_MS  # time for somebody to notice, mend and replay
_EVENT_BYTES = 2 << 20
_DEAD_LETTER_BYTES = 16 << 20  # a dead letter carries the event and why it died


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it is wanted."""

    name: str
    partitions: int
    replication: int
    config: tuple[tuple[str, str], ...]
    """Sorted; set when the topic is made."""
    manage: bool
    """False: must exist, is never made, altered or deleted."""
    lenient: bool = False
    """An origin that is re-keyed: any partitions and settings will do, so whoever reads it by its own key decides."""


def wanted_topics(featureset: FeatureSet, replication: int | None, dead_letter_topic: str) -> tuple[Topic, ...]:
    """The source, its origin and the output if there are such, and the dead letters, in this order, each name once.

    `replication` replaces the manifest's number (one broker on a laptop). Where the source is not managed, none is.
    An origin is as its own FeatureSets want it; like the source only where there are none.
    """
    source = featureset.source
    copies = replication or source.replication

    def topic(name: str, config: dict[str, str], *, lenient: bool = False) -> Topic:
        durable = {"min.insync.replicas": str(max(1, copies - 1)), **config}
        return Topic(name, source.partitions, copies, tuple(sorted(durable.items())), source.manage, lenient)

    append_time = {"message.timestamp.type": "LogAppendTime"}
    own = {**append_time, "retention.ms": str(source.retention_ms), "max.message.bytes": str(_EVENT_BYTES)}
    if source.origin is None:
        found = [topic(source.topic, own)]
    else:
        # What the origin holds must fit, whoever made it: an event that is too large is the processors' to refuse.
        own_bytes = {**own, "max.message.bytes": str(_DEAD_LETTER_BYTES)}
        found = [topic(source.topic, own_bytes), topic(source.origin, own, lenient=True)]
    if featureset.output_topic is not None:
        found.append(topic(featureset.output_topic, {**append_time, "retention.ms": str(_OUTPUT_RETENTION_MS)}))
    letters = {"retention.ms": str(_DEAD_LETTER_RETENTION_MS), "max.message.bytes": str(_DEAD_LETTER_BYTES)}
    found.append(topic(dead_letter_topic, letters))
    return tuple({one.name: one for one in reversed(found)}[name] for name in dict.fromkeys(one.name for one in found))


def horizon_ms(definition: Definition) -> int:
    """How far back in the log a lost state has to be rebuilt from: longest window, a hop, the duplicate filter."""
    windows = definition.windows
    longest = windows[-1].length_ms if windows else 0
    return longest + max((window.hop_ms for window in windows), default=0) + definition.deduplicate_ms
