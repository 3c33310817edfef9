"""Asking for an entity to be forgotten, and the receipt (decision 8).

The request is noted, then a control record is sent into the entity's partition of each source topic. Processors reset
the entity's states when they read it; the recorder removes its rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
from confluent_kafka import KafkaError, KafkaException, Message
from psycopg.types.json import Jsonb

from freshet.admin.installation import Installation, Refused, Unavailable
from freshet.admin.online import Online, forgotten_online
from freshet.admin.replay import alone
from freshet.engine.decode import key_problem
from freshet.spec import headers as names
from freshet.spec.definition import FeatureSet
from freshet.stores import kafka
from freshet.stores.postgres import HistoryDown, describe
from freshet.stores.topics import topic_config, topic_uuid


@dataclass(frozen=True, slots=True)
class TopicReceipt:
    """What became of a request in one source topic."""

    topic: str
    partition: int | None
    offset: int | None
    """Of the control record; None: it is not known to be in the log."""
    applied_at: datetime | None
    """When history had removed everything; None: not yet, or there is no history."""
    removed: dict[str, int]
    """Rows by table."""
    online: tuple[Online, ...]
    kept_until: dict[str, datetime | None]
    """By topic until when Kafka may still hold records about the entity; None: for ever, as the topic keeps all."""

    @property
    def state(self) -> str:
        """`requested`, `sent` (in the log), or `applied` (everything is removed but what Kafka still keeps)."""
        if self.offset is None:
            return "requested"
        online = all(one.done for one in self.online)
        return "applied" if self.applied_at is not None and online else "sent"

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "topic": self.topic,
            "state": self.state,
            "partition": self.partition,
            "offset": self.offset,
            "applied_at": None if self.applied_at is None else self.applied_at.isoformat(),
            "removed": self.removed,
            "online": [one.as_json() for one in self.online],
            "kept_until": {name: None if at is None else at.isoformat() for name, at in self.kept_until.items()},
        }


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a request."""

    request_id: UUID
    entity: str
    requested_at: datetime
    topics: tuple[TopicReceipt, ...]

    @property
    def done(self) -> bool:
        """Whether it is applied in every topic."""
        return all(one.state == "applied" for one in self.topics)

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "request_id": str(self.request_id),
            "entity": self.entity,
            "requested_at": self.requested_at.isoformat(),
            "done": self.done,
            "topics": [one.as_json() for one in self.topics],
        }


def request(installation: Installation, entity: str, topics: Sequence[str] = ()) -> Receipt:
    """Asks for an entity to be forgotten in these source topics (none: in all).

    Returns once Kafka has every control record. Raises Refused for an entity or topic that cannot be, Unavailable and
    HistoryDown; what was sent before is applied nevertheless, and asking again does no harm.
    """
    problem = key_problem(entity) if _has_utf8(entity) else "holds half of a surrogate pair"
    if problem is not None:
        raise Refused(f"the entity's key {problem}")
    readers = _readers(installation, topics)
    request_id, now = uuid4(), datetime.now(UTC)
    kept = {topic: _kept_until(installation, topic, readers[topic], now) for topic in readers}
    if installation.postgres is None:
        sent = {topic: _send(installation, topic, fs[0], entity, request_id) for topic, fs in readers.items()}
        parts = [TopicReceipt(topic, *sent[topic], None, {}, (), kept[topic]) for topic in readers]
        return Receipt(request_id, entity, now, tuple(parts))
    try:
        with installation.history() as connection, alone(connection):
            for topic in readers:
                until = {name: None if at is None else at.isoformat() for name, at in kept[topic].items()}
                connection.execute(
                    "INSERT INTO erasure_requests (request_id, topic, entity, kept_until) VALUES (%s, %s, %s, %s)",
                    (request_id, topic, entity, Jsonb(until)),
                )
            for topic, featuresets in readers.items():
                partition, offset = _send(installation, topic, featuresets[0], entity, request_id)
                topic_id = topic_uuid(kafka.describe_topic(kafka.admin(installation.kafka), topic).topic_id)
                connection.execute(
                    'UPDATE erasure_requests SET topic_id = %s, partition = %s, "offset" = %s '
                    "WHERE request_id = %s AND topic = %s",
                    (topic_id, partition, offset, request_id, topic),
                )
    except KafkaException as error:
        raise Unavailable(f"Kafka: {error.args[0].str()}") from None
    except psycopg.Error as error:
        raise HistoryDown(describe(error)) from error
    found = receipt(installation, request_id)
    assert found is not None, "it was just noted"
    return found


def _has_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _readers(installation: Installation, topics: Sequence[str]) -> dict[str, list[FeatureSet]]:
    """The FeatureSets of the source topics that are meant. Raises Refused."""
    found: dict[str, list[FeatureSet]] = {}
    for featureset in installation.featuresets():
        found.setdefault(featureset.source.topic, []).append(featureset)
    unknown = sorted(set(topics) - found.keys())
    if unknown or not found:
        known = ", ".join(sorted(found)) or "none"
        raise Refused(f"no FeatureSet reads {', '.join(unknown) or 'any topic'}; source topics are {known}")
    return {topic: sets for topic, sets in found.items() if not topics or topic in topics}


def _send(
    installation: Installation, topic: str, featureset: FeatureSet, entity: str, request_id: UUID
) -> tuple[int, int]:
    """Sends the control record; returns where it stands. Raises Unavailable."""
    answers: list[tuple[KafkaError | None, Message]] = []
    producer = kafka.producer(installation.kafka, featureset.source.partitioner)
    try:
        producer.produce(
            topic,
            key=entity.encode(),
            value=None,
            headers={names.CONTROL: names.ERASE.encode(), names.REQUEST: str(request_id).encode()},
            on_delivery=lambda error, message: answers.append((error, message)),
        )
    except KafkaException as error:
        raise Unavailable(f"Kafka: {error.args[0].str()}") from None
    producer.flush(kafka.DELIVERY_SECONDS + 5)
    problem = answers[0][0].str() if answers and answers[0][0] is not None else None
    if not answers or problem is not None:
        raise Unavailable(f"Kafka has not confirmed the erasure in topic {topic}: {problem or 'no answer'}; ask again")
    message = answers[0][1]
    return message.partition() or 0, message.offset() or 0


def _kept_until(
    installation: Installation, topic: str, readers: Iterable[FeatureSet], now: datetime
) -> dict[str, datetime | None]:
    """Until when the topics that hold records about an entity may keep those there are now. Raises Unavailable.

    Kafka deletes whole segments: a record may outlive `retention.ms` by the time that a segment is open. One of a
    compacted topic stays as long as nothing newer has its key.
    """
    about = [topic, *(fs.output_topic for fs in readers if fs.output_topic), installation.dead_letter_topic]
    found: dict[str, datetime | None] = {}
    client = kafka.admin(installation.kafka)
    for name in dict.fromkeys(about):
        try:
            config = topic_config(client, name)
        except KafkaException as error:
            if error.args[0].code() == kafka.NO_SUCH_TOPIC:
                continue
            raise Unavailable(f"Kafka: {error.args[0].str()}") from None
        if not config:
            raise Unavailable(f"topic {name}: its settings may not be read, so how long it keeps records is not known")
        retention, segment = int(config["retention.ms"]), int(config["segment.ms"])
        forever = retention < 0 or "delete" not in str(config["cleanup.policy"])
        try:
            found[name] = None if forever else now + timedelta(milliseconds=retention + segment)
        except OverflowError:
            found[name] = None
    return found


def receipt(installation: Installation, request_id: UUID) -> Receipt | None:
    """What has become of a request until now; None: there is none of this id. Raises HistoryDown, Refused."""
    try:
        with installation.history() as connection:
            rows = connection.execute(_RECEIPT, (request_id,)).fetchall()
    except psycopg.Error as error:
        raise HistoryDown(describe(error)) from error
    if not rows:
        return None
    parts = []
    for topic, entity, _, partition, offset, kept, applied_at, removed in rows:
        online: tuple[Online, ...] = ()
        if offset is not None:
            online = forgotten_online(installation, topic, partition, offset, entity)
        until = {name: None if at is None else datetime.fromisoformat(at) for name, at in kept.items()}
        parts.append(TopicReceipt(topic, partition, offset, applied_at, removed or {}, online, until))
    return Receipt(request_id, rows[0][1], rows[0][2], tuple(parts))


_RECEIPT = """
SELECT r.topic, r.entity, r.requested_at, r.partition, r."offset", r.kept_until, e.applied_at, e.removed
FROM erasure_requests r LEFT JOIN erasures e USING (topic_id, partition, "offset")
WHERE r.request_id = %s ORDER BY r.topic
"""
