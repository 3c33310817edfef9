"""Where copying a partition of an origin begins, or why it may not: pure (decision 11).

The committed offset of the group is the truth: it moves in the transaction that writes the copies. Beside it stands a
mark with the ids of both topics, since an offset means nothing in a topic that was made anew, and with who writes.
"""

from __future__ import annotations

from dataclasses import dataclass


class Stopped(Exception):
    """Copying a partition would lose or double records: somebody has to decide. Its name is the reason."""


class OriginTruncated(Stopped):
    """Records that were not copied yet are in the origin no more."""


class OriginShorter(Stopped):
    """More was copied than the origin holds: it has lost its end."""


class OriginChanged(Stopped):
    """The origin was deleted and made anew."""


class TopicChanged(Stopped):
    """The topic of the copies was deleted and made anew."""


class OffsetsLost(Stopped):
    """There are copies, and nothing says how far the origin was copied."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What stands beside a committed offset."""

    origin_id: str
    topic_id: str
    writer: str | None
    """Transactional id of who may have a transaction open on the partition; None: it was given up in order."""

    def text(self) -> str:
        """As Kafka keeps it: the offset's metadata."""
        return f"1 {self.origin_id} {self.topic_id} {self.writer or '-'}"

    @classmethod
    def parse(cls, text: str | None) -> Mark | None:
        """The mark of a committed offset; None where a tool has set it, which knows of no marks."""
        parts = (text or "").split(" ")
        if len(parts) != 4 or parts[0] != "1":
            return None
        return cls(parts[1], parts[2], None if parts[3] == "-" else parts[3])


@dataclass(frozen=True, slots=True)
class Committed:
    """A committed offset."""

    offset: int
    mark: Mark | None


@dataclass(frozen=True, slots=True)
class Topics:
    """What is copied where."""

    origin: str
    origin_id: str
    topic: str
    topic_id: str
    group: str


@dataclass(frozen=True, slots=True)
class Start:
    """Where to go on."""

    offset: int
    lost: int = 0
    """Offsets that are skipped because the origin has them no more."""


def start_of(
    partition: int,
    found: Committed | None,
    bounds: tuple[int, int],
    topics: Topics,
    *,
    unknown: bool,
    changed: bool,
    skip: bool,
) -> Start:
    """Where copying goes on. `bounds`: the first offset that the origin still has, and its end.

    `unknown`: there are copies, and no partition has an offset. `changed`: the origin was another one when others of
    its partitions were copied, so Kafka may have dropped this one's offset with it. `skip`: go on with what there is,
    where that is possible without doubling a record. Raises Stopped.
    """
    first, end = bounds
    if found is None:
        if unknown:
            raise OffsetsLost(_offsets_lost(topics))
        if changed and not skip:
            raise OriginChanged(_origin_changed(topics))
        return Start(first)  # nothing of it was copied
    mark = found.mark
    if mark is not None and mark.topic_id != topics.topic_id and not skip:
        raise TopicChanged(_topic_changed(partition, found, topics))
    if mark is not None and mark.origin_id != topics.origin_id:
        if not skip:
            raise OriginChanged(_origin_changed(topics))
        return Start(first)
    if found.offset < first:
        if not skip:
            raise OriginTruncated(_truncated(partition, found.offset, first, topics))
        return Start(first, first - found.offset)
    if found.offset > end:
        if not skip:
            raise OriginShorter(_shorter(partition, found.offset, end, topics))
        return Start(end)
    return Start(found.offset)


def _offsets_lost(topics: Topics) -> str:
    return (
        f"topic {topics.topic} holds copies, but the consumer group {topics.group} has no offsets (Kafka drops them"
        f" after offsets.retention.minutes without a member, and with a deleted topic): how much of {topics.origin} was"
        " copied is not known; set the group's offsets with kafka-consumer-groups.sh --reset-offsets, or delete the"
        " topic of the copies to have all copied again"
    )


def _topic_changed(partition: int, found: Committed, topics: Topics) -> str:
    return (
        f"topic {topics.topic} was deleted and made anew: what was copied of partition {partition} before offset"
        f" {found.offset} is not in it; delete the consumer group {topics.group} to have all copied that"
        f" {topics.origin} holds, or go on without it with FRESHET_ON_GAP=skip"
    )


def _origin_changed(topics: Topics) -> str:
    return (
        f"topic {topics.origin} was deleted and made anew: copies are of the old one; if it holds other events than"
        " they do, FRESHET_ON_GAP=skip copies it from its beginning; if it was refilled with the same ones, set the"
        f" offsets of the consumer group {topics.group} with kafka-consumer-groups.sh --reset-offsets"
    )


def _truncated(partition: int, offset: int, first: int, topics: Topics) -> str:
    return (
        f"partition {partition} of {topics.origin} begins at offset {first}, and what comes next is {offset}:"
        f" {first - offset} offsets were deleted before they were copied; FRESHET_ON_GAP=skip goes on without them"
    )


def _shorter(partition: int, offset: int, end: int, topics: Topics) -> str:
    return (
        f"partition {partition} of {topics.origin} ends at offset {end}, and was copied up to {offset}: its end was"
        " lost; FRESHET_ON_GAP=skip goes on at its present end"
    )
