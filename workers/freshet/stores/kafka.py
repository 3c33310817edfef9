"""Kafka clients as this project needs them: what is fixed for correctness, what is tuned for freshness.

Reasons of the numbers: reference measurements of librdkafka; each is given where the property is set.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

from freshet.runtime.settings import ConfigurationError, KafkaSettings
from freshet.stores.answers import answer
from freshet.stores.doubts import Doubts
from freshet.stores.topics import TopicInfo, describe_topic, ensure_topics

__all__ = [
    "DELIVERY_SECONDS",
    "LOG",
    "MAX_MESSAGE_BYTES",
    "NO_SUCH_TOPIC",
    "OUTSIDE_LOG",
    "PARTITION_END",
    "TopicInfo",
    "admin",
    "consumer",
    "deliver_from",
    "describe_topic",
    "ensure_topics",
    "log_bounds",
    "many_log_bounds",
    "offset_at",
    "producer",
    "raw",
]

PARTITIONERS = {"murmur2": "murmur2_random", "consistent": "consistent_random"}
"""A manifest's word to librdkafka's. Only records without a key are spread at random."""

MAX_MESSAGE_BYTES = 16 << 20
"""Client-side limit of one record. Above an event's 1 MiB: a dead letter carries whatever a foreign topic held."""

DELIVERY_SECONDS = 30
"""By then a record is acknowledged or reported as failed, unless a producer is told otherwise."""

NO_SUCH_TOPIC = KafkaError.UNKNOWN_TOPIC_OR_PART
PARTITION_END = KafkaError._PARTITION_EOF  # noqa: SLF001  # the client's public name for it
OUTSIDE_LOG = (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE)  # noqa: SLF001  # public names too
"""Codes that say: what comes next is not in the log any more."""

_ONCE = {"retries": 0, "max.in.flight.requests.per.connection": 1}

Client = TypeVar("Client", Producer, Consumer, AdminClient)

_ANSWER_SECONDS = 10.0
LOG = logging.getLogger("freshet.kafka")
"""Where the client library's lines go."""


def producer(
    settings: KafkaSettings,
    partitioner: str = "murmur2",
    *,
    queue_kbytes: int = 65_536,
    delivery_timeout_ms: int = DELIVERY_SECONDS * 1000,
    linger_ms: float = 2,
    doubts: Doubts | None = None,
    resend: bool = True,
    transactional_id: str | None = None,
) -> Producer:
    """A producer whose acknowledgement means that the record is safe and in order, and there once unless `doubts` grew
    between handing it over and its report.

    `partitioner` is the manifest's word. When `queue_kbytes` wait for the broker, `produce` raises BufferError; a
    record that is not acknowledged in `delivery_timeout_ms` is reported as failed. Without `resend` nothing is sent
    again that Kafka may have: acknowledged or not, it is there at most once; but a connection that breaks fails what is
    under way. With a `transactional_id` a transaction that stays open for `delivery_timeout_ms` is aborted by Kafka.
    Raises ConfigurationError.
    """
    transactions: dict[str, Any] = {}
    if transactional_id is not None:
        transactions = {
            "transactional.id": transactional_id,
            "transaction.timeout.ms": delivery_timeout_ms,
            "reconnect.backoff.max.ms": 1_000,  # the default of 10 s is as long as a transaction may last
        }
    return _made(
        Producer,
        settings,
        {
            **transactions,
            "acks": "all",
            **({"enable.idempotence": True} if resend else _ONCE),
            **({"debug": "eos"} if doubts else {}),
            "partitioner": PARTITIONERS[partitioner],
            "compression.type": "lz4",
            "linger.ms": linger_ms,  # a little batching; freshness pays for every millisecond
            "queue.buffering.max.kbytes": queue_kbytes,
            "queue.buffering.max.messages": 1_000_000,  # bytes are what binds
            "message.max.bytes": MAX_MESSAGE_BYTES,
            "batch.size": 1 << 20,
            "delivery.timeout.ms": delivery_timeout_ms,
        },
        doubts,
    )


def consumer(settings: KafkaSettings, group: str, *, gather_ms: int = 0) -> Consumer:
    """A member of `group` that starts only where it is told and never commits by itself.

    It reports the end of each partition. Records come as soon as there is one, or, with `gather_ms`, after so long at
    most, unless there is a megabyte before. Raises ConfigurationError.
    """
    return _made(
        Consumer,
        settings,
        {
            "group.id": group,
            "partition.assignment.strategy": "cooperative-sticky",
            "enable.auto.commit": False,  # the store's offset is the truth (design §6.5)
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",  # an offset outside the log is a condition to report, never a silent jump
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "allow.auto.create.topics": False,
            "heartbeat.interval.ms": 500,  # a hand-over waits for a heartbeat of every member
            "session.timeout.ms": 10_000,
            "max.poll.interval.ms": 60_000,
            "fetch.wait.max.ms": gather_ms or 100,
            "fetch.min.bytes": 1 << 20 if gather_ms else 1,
            "fetch.queue.backoff.ms": 20,  # the default of 1 s stalls a partition whose local queue was full
            "queued.min.messages": 50_000,
            "queued.max.messages.kbytes": 32_768,  # bounds the memory of a pod
        },
    )


def admin(settings: KafkaSettings) -> AdminClient:
    """A client for topics. Raises ConfigurationError."""
    return _made(AdminClient, settings, {})


def _made(kind: type[Client], settings: KafkaSettings, own: dict[str, Any], logger: Doubts | None = None) -> Client:
    """Own values first, then those of the user's file; settings refuse the ones that may not differ."""
    common: dict[str, str | int | float] = {
        "bootstrap.servers": settings.bootstrap,
        "client.id": "freshet",
        "socket.keepalive.enable": True,
    }
    given: dict[str, Any] = settings.properties()
    if "debug" in own and "debug" in given:
        given["debug"] += "," + own["debug"]
    try:
        return kind({**common, **own, **given}, logger=logger or LOG)
    except KafkaException as error:
        reason = error.args[0].str()
        raise ConfigurationError(f"FRESHET_KAFKA or FRESHET_KAFKA_CONFIG: {reason}") from None


def deliver_from(client: Consumer, place: TopicPartition) -> None:
    """Makes Kafka deliver an assigned partition from an offset again. What was fetched before is discarded.

    Raises KafkaException where Kafka has taken the partition away; its callback comes with the next poll.
    """
    client.incremental_unassign([place])
    client.incremental_assign([place])


def raw(data: Any) -> bytes | None:
    """A key, value or header as bytes: the client's types allow for texts."""
    return data.encode() if isinstance(data, str) else data


def log_bounds(
    client: Consumer, topic: str, partition: int, timeout_seconds: float = _ANSWER_SECONDS
) -> tuple[int, int]:
    """The first offset that is still kept and the one that the next record gets.

    Raises KafkaException if the broker does not answer in time or there is no such partition.
    """
    low, high = client.get_watermark_offsets(TopicPartition(topic, partition), timeout=timeout_seconds, cached=False)
    return low, high


def offset_at(
    client: Consumer, topic: str, partition: int, broker_ms: int, timeout_seconds: float = _ANSWER_SECONDS
) -> int | None:
    """The first offset whose broker time is not before `broker_ms`; None: there is none yet. Raises KafkaException."""
    asked = [TopicPartition(topic, partition, max(0, broker_ms))]
    (found,) = client.offsets_for_times(asked, timeout=timeout_seconds)
    if found.error is not None:
        raise KafkaException(found.error)
    return found.offset if found.offset >= 0 else None


def many_log_bounds(
    client: AdminClient, places: Sequence[tuple[str, int]], timeout_seconds: float = _ANSWER_SECONDS
) -> dict[tuple[str, int], tuple[int, int] | KafkaException]:
    """`log_bounds` of many partitions (topic, number) in two requests a broker; an error instead where there is one.

    A consumer's own connection would answer each only after a fetch that waits there for records.
    """
    found: dict[tuple[str, int], list[int] | KafkaException] = {place: [] for place in places}
    for spec in (OffsetSpec.earliest(), OffsetSpec.latest()):  # type: ignore[no-untyped-call]
        asked = client.list_offsets({TopicPartition(*p): spec for p in places}, request_timeout=timeout_seconds)
        for place, future in asked.items():
            key = (place.topic, place.partition)
            bounds = found[key]
            try:
                offset = answer(future, timeout_seconds).offset
            except KafkaException as error:
                found[key] = error
            else:
                if isinstance(bounds, list):
                    bounds.append(offset)
    return {key: (b[0], b[1]) if isinstance(b, list) else b for key, b in found.items()}
