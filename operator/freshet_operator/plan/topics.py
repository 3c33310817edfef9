"""Whether a FeatureSet's topics are there and are what it needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from freshet.spec.definition import FeatureSet
from freshet.spec.durations import duration_text
from freshet.spec.topics import horizon_ms
from freshet_operator.model import Claim, KafkaSeen, Object, Topic, TopicSeen
from freshet_operator.plan.conditions import Verdict

READY = Verdict("True", "Present", "all topics are there")


def topics_verdict(
    featureset: FeatureSet, wanted: Sequence[Topic], kafka: KafkaSeen, claims: Sequence[Claim], resource: Object
) -> tuple[Verdict, tuple[Topic, ...]]:
    """The condition, and the topics to make. An existing topic is never altered."""
    conflict = _conflict(wanted, claims, resource)
    if kafka.error is not None:
        unknown = Verdict("Unknown", "KafkaUnavailable", f"Kafka does not answer: {kafka.error}; asked again by itself")
        return conflict or unknown, ()
    missing = [topic for topic in wanted if topic.name not in kafka.topics]
    absent = [topic.name for topic in missing if not topic.manage]
    create = () if conflict else tuple(topic for topic in missing if topic.manage)
    source = kafka.topics.get(featureset.source.topic)
    wrong = _wrong(featureset, source) if source else None
    if conflict or wrong:
        return conflict or wrong or READY, create
    if absent:
        message = (
            f"topic {', '.join(absent)} does not exist, and with spec.source.manage: false it is yours to make;"
            f" it needs {featureset.source.partitions} partitions and message.timestamp.type=LogAppendTime"
        )
        return Verdict("False", "TopicMissing", message), create
    if create:
        return Verdict("False", "Creating", f"topic {', '.join(topic.name for topic in create)} is being made"), create
    return READY, ()


def is_later(resource: Object, claim: Claim) -> bool:
    """Whether the resource came after the other: the older has the right."""
    meta = resource["metadata"]
    mine = (str(meta.get("creationTimestamp") or ""), meta["namespace"], meta["name"])
    return mine > (claim.created, claim.namespace, claim.name)


def _conflict(wanted: Sequence[Topic], claims: Sequence[Claim], resource: Object) -> Verdict | None:
    """Outputs and dead letters of two FeatureSets may share a topic; a source is one thing to all who manage it."""
    for claim in claims:
        if claim.deleting or not is_later(resource, claim):
            continue
        theirs = {topic.name: (i, topic) for i, topic in enumerate(claim.topics) if topic.manage}
        for i, topic in enumerate(wanted):
            place, other = theirs.get(topic.name, (0, topic))
            both = topic.manage and not (topic.lenient or other.lenient)
            if both and 0 in (i, place) and _differ(topic, other):
                message = (
                    f"topic {topic.name} is already managed by FeatureSet {claim.namespace}/{claim.name} with"
                    f" {_difference(topic, other)}; make spec.source of both equal, or set manage: false here"
                )
                return Verdict("False", "ResourceConflict", message)
    return None


def _differ(mine: Topic, other: Topic) -> bool:
    if not other.replication:
        return mine.partitions != other.partitions  # known by its status alone: the spec is invalid just now
    return mine != other


def _difference(mine: Topic, other: Topic) -> str:
    said = []
    if mine.partitions != other.partitions:
        said.append(f"{other.partitions} partitions instead of {mine.partitions}")
    if mine.replication != other.replication:
        said.append(f"replication {other.replication} instead of {mine.replication}")
    before, after = dict(other.config), dict(mine.config)
    names = (name for name in sorted(before.keys() | after.keys()) if name != "min.insync.replicas")
    said += [
        f"{name}={_told(name, before)} instead of {_told(name, after)}"
        for name in names
        if before.get(name) != after.get(name)
    ]
    return " and ".join(said) or "other settings"


def _told(name: str, config: Mapping[str, str]) -> str:
    """A setting for people: 777600000 (9d)."""
    value = config.get(name, "unset")
    return f"{value} ({duration_text(int(value))})" if name == "retention.ms" and value.isdigit() else value


def _wrong(featureset: FeatureSet, seen: TopicSeen) -> Verdict | None:
    source = featureset.source
    if seen.partitions != source.partitions:
        message = (
            f"topic {seen.name} has {seen.partitions} partitions, spec.source.partitions is {source.partitions}: keys"
            " would be looked for on other partitions; make the numbers equal"
        )
        return Verdict("False", "PartitionMismatch", message)
    if seen.timestamp_type == "CreateTime":
        message = (
            f"topic {seen.name} has message.timestamp.type=CreateTime, LogAppendTime is needed: event times of"
            " producers cannot order a log; alter the topic's configuration"
        )
        return Verdict("False", "WrongTimestampType", message)
    needed = horizon_ms(featureset.definition)
    if seen.retention_ms is not None and 0 <= seen.retention_ms < needed:
        message = (
            f"topic {seen.name} has retention.ms={seen.retention_ms} ({duration_text(seen.retention_ms)}), the windows"
            f" need {duration_text(needed)}: a lost state could not be rebuilt; raise the topic's retention.ms"
        )
        return Verdict("False", "RetentionTooShort", message)
    return None
