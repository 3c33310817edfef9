"""The command `freshet restore`: the recorded events go back into source topics that were lost, at their old times.

Kafka gives a topic that is made anew another id and begins its offsets at 0, and states, checkpoints and rows of
history are of a topic's id and offsets. So the recorded records are sent in their order, with something that nobody
counts in the place of those whose payload is not kept, and history is then renumbered to the new log in one
transaction. What is in the log and in history afterwards is what would be there if the topic had never been away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
import psycopg
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from rich.console import Console

from freshet.dev.errors import CommandFailed
from freshet.dev.recopy import Copies, ends
from freshet.engine.layout import HEAD_WORDS, OFFSET
from freshet.runtime.settings import KafkaSettings
from freshet.spec import headers
from freshet.spec.definition import FeatureSet
from freshet.stores import kafka
from freshet.stores.event_log import EventLog, Row, Status
from freshet.stores.postgres import HistoryDown, connect, describe, migrate
from freshet.stores.topics import describe_topic, topic_uuid

_ROWS = 5000
_FLUSH_SECONDS = 120.0
_LONG_MS = 3_600_000
_NOBODY = b"nobody/nothing/0000000000"
"""A revision that is none: records for it take their place in the log, and no revision counts them."""


class Span(NamedTuple):
    """The recorded records of a partition: first ≤ offset < next."""

    partition: int
    first: int
    next: int


@dataclass(frozen=True, slots=True)
class Lost:
    """A topic as history knows it."""

    name: str
    topic_id: UUID
    spans: list[Span]


def restore(
    featuresets: Sequence[FeatureSet],
    settings: KafkaSettings,
    url: str,
    dead_letter_topic: str,
    replication: int | None,
    console: Console,
) -> None:
    """Refills the source topics of these FeatureSets. Recorders and processors must not run yet.

    Raises CommandFailed if history has no such topic, if a topic has records already, or if something does not answer.
    """
    try:
        migrate(url)
        admin = kafka.admin(settings)
        kafka.ensure_topics(admin, featuresets, dead_letter_topic, replication)
        copies = {one.source.topic: Copies(one) for one in featuresets if one.source.origin is not None}
        # What an origin has and its copies do not is known once these are there.
        for name in dict.fromkeys([*copies, *(one.source.topic for one in featuresets)]):
            lost = _lost(url, name)
            new_id = topic_uuid(describe_topic(admin, name).topic_id)
            if new_id == lost.topic_id:
                raise CommandFailed(f"topic {name} is the one that history knows: there is nothing to restore")
            _require_empty(settings, lost)
            sent = _refill(admin, settings, url, lost, list(copies.values()), console)
            dropped = _renumber(url, lost, new_id, [one.name for one in featuresets if one.source.topic == name])
            console.print(f"topic {name}: {sent} records are back, history is of the new topic")
            for owner, partition in dropped:
                console.print(f"[yellow]no states of {owner}, partition {partition}: its checkpoint is too old[/]")
        for one in copies.values():
            one.commit(settings, console)
    except psycopg.Error as error:
        raise CommandFailed(describe(error)) from None
    except (HistoryDown, KafkaException) as error:
        raise CommandFailed(str(error)) from None


def _refill(
    admin: AdminClient, settings: KafkaSettings, url: str, lost: Lost, copies: Sequence[Copies], console: Console
) -> int:
    """Sends a topic's records, and what its copies lack of it; returns how many records it has."""
    of_it = [one for one in copies if one.origin == lost.name]
    with ExitStack() as stamped:
        for topic in (lost.name, *(one.topic for one in of_it)):
            stamped.enter_context(_stamped_by_sender(admin, topic))
        tell = [one.holds for one in copies if one.topic == lost.name] + [one.sees for one in of_it]
        sent = _send(settings, url, lost, tell)
        for one in of_it:
            console.print(
                f"topic {one.topic}: {one.complete(settings)} events were in {lost.name} only, and are copied"
            )
    return sent


def _lost(url: str, name: str) -> Lost:
    with connect(url, autocommit=True) as connection:
        rows = connection.execute(
            "SELECT topic_id, partition, first_offset, next_offset FROM recorded WHERE topic_id = "
            "(SELECT topic_id FROM recorded WHERE topic = %s ORDER BY updated_at DESC LIMIT 1) ORDER BY partition",
            (name,),
        ).fetchall()
    if not rows:
        raise CommandFailed(f"history has never recorded a topic {name}: is it the right database, and restored?")
    return Lost(name, rows[0][0], [Span(*row[1:]) for row in rows])


def _require_empty(settings: KafkaSettings, lost: Lost) -> None:
    if any(ends(settings, lost.name)):
        raise CommandFailed(
            f"topic {lost.name} has records already: only an empty one can be filled, since history is "
            "numbered as the log is. If they are of an attempt that was interrupted, delete the topic first"
        )


def require_complete(settings: KafkaSettings, lost: Lost) -> None:
    """A record that the client had to send a second time after a time-out may be there twice (stores/doubts.py), and
    all after it would have the number of another one. Raises CommandFailed."""
    found = ends(settings, lost.name)
    for span in lost.spans:
        end = found[span.partition]
        if end != span.next - span.first:
            raise CommandFailed(
                f"topic {lost.name}, partition {span.partition}: {end} records are there instead of "
                f"{span.next - span.first}, since the connection to Kafka broke; delete the topic and try again"
            )


class _stamped_by_sender:  # used like a function
    """While this holds, records of the topic keep the time that they are sent with."""

    def __init__(self, admin: AdminClient, topic: str) -> None:
        self._admin, self._topic = admin, topic

    def __enter__(self) -> None:
        self._set("CreateTime")

    def __exit__(self, *_: object) -> None:
        self._set("LogAppendTime")

    def _set(self, kind: str) -> None:
        entry = ConfigEntry("message.timestamp.type", kind, incremental_operation=AlterConfigOpType.SET)
        asked = [ConfigResource(ConfigResource.Type.TOPIC, self._topic, incremental_configs=[entry])]
        for future in self._admin.incremental_alter_configs(asked).values():
            future.result(30)


def _send(settings: KafkaSettings, url: str, lost: Lost, tell: Sequence[Callable[[int, Row], None]]) -> int:
    producer = kafka.producer(settings)
    failed: list[str] = []

    def told(error: Any, _message: Any) -> None:
        if error is not None:
            failed.append(str(error))

    sent = 0
    for span in lost.spans:
        log = EventLog(url, lost.topic_id, span.partition)
        for row in _without_holes(log, span):
            for one in tell:
                one(span.partition, row)
            _produce(producer, lost.name, span.partition, row, told)
            sent += 1
            if failed:
                break
    left = producer.flush(_FLUSH_SECONDS)
    if failed or left:
        why = failed[0] if failed else f"{left} records were not acknowledged"
        raise CommandFailed(f"topic {lost.name}: {why}; delete the topic and try again")
    require_complete(settings, lost)
    return sent


def _without_holes(log: EventLog, span: Span) -> Iterator[Row]:
    """Every offset of the span: control records of transactions leave holes."""
    at, broker_ms = span.first, 0
    for rows in log.rows(span.first, span.next, _ROWS):
        for row in rows:
            broker_ms = row.broker_ms
            while at < row.offset:
                yield Row(at, broker_ms, Status.INVALID, None, None, None)
                at += 1
            yield row
            at += 1
    while at < span.next:
        yield Row(at, broker_ms, Status.INVALID, None, None, None)
        at += 1


def _produce(producer: Producer, topic: str, partition: int, row: Row, told: Any) -> None:
    marks: list[tuple[str, str | bytes | None]] = []
    if row.status == Status.CONTROL and row.entity is not None:
        marks = [(headers.CONTROL, headers.ERASE.encode())]
    elif row.payload is None:
        marks = [(headers.FOR, _NOBODY)]
    elif row.replay_for is not None:
        marks = [(headers.FOR, row.replay_for.encode())]
    while True:
        try:
            producer.produce(
                topic,
                partition=partition,
                key=row.entity,
                value=(row.payload or "").encode(),
                headers=marks,
                timestamp=row.broker_ms,
                on_delivery=told,
            )
            producer.poll(0)
            return
        except BufferError:
            producer.poll(0.1)


_SHIFTS = (
    'UPDATE event_log SET topic_id = %(new)s, "offset" = "offset" - %(first)s '
    "WHERE topic_id = %(old)s AND partition = %(partition)s",
    "UPDATE dead_letters SET source_topic_id = %(new)s, source_offset = source_offset - %(first)s "
    "WHERE source_topic_id = %(old)s AND source_partition = %(partition)s AND source_offset >= %(first)s",
    'UPDATE erasures SET topic_id = %(new)s, "offset" = "offset" - %(first)s '
    'WHERE topic_id = %(old)s AND partition = %(partition)s AND "offset" >= %(first)s',
    'UPDATE erasure_requests SET topic_id = %(new)s, "offset" = "offset" - %(first)s '
    'WHERE topic_id = %(old)s AND partition = %(partition)s AND "offset" >= %(first)s',
    "UPDATE feature_snapshots SET source_offset = source_offset - %(first)s "
    "WHERE %(first)s > 0 AND source_partition = %(partition)s AND featureset = ANY(%(featuresets)s)",
    "UPDATE recorded SET topic_id = %(new)s, first_offset = 0, next_offset = next_offset - %(first)s, "
    "duplicates_from = greatest(0, duplicates_from - %(first)s), judged_from = greatest(0, judged_from - %(first)s) "
    "WHERE topic_id = %(old)s AND partition = %(partition)s",
)


def _renumber(url: str, lost: Lost, new_id: UUID, featuresets: list[str]) -> list[tuple[str, int]]:
    """Makes history one of the new log; returns owner and partition of checkpoints that could not be kept."""
    dropped: list[tuple[str, int]] = []
    with connect(url, statement_ms=_LONG_MS) as connection:
        for span in lost.spans:
            values = {
                "new": new_id,
                "old": lost.topic_id,
                "first": span.first,
                "partition": span.partition,
                "featuresets": featuresets,
            }
            for statement in _SHIFTS:
                connection.execute(statement.encode(), values)
            dropped += _renumber_checkpoints(connection, lost, new_id, span)
    return dropped


def _renumber_checkpoints(
    connection: psycopg.Connection, lost: Lost, new_id: UUID, span: Span
) -> list[tuple[str, int]]:
    found = connection.execute(
        'SELECT owner, "offset" FROM checkpoints WHERE topic_id = %s AND partition = %s',
        (lost.topic_id, span.partition),
    ).fetchall()
    dropped = []
    for owner, offset in found:
        place = (owner, span.partition)
        if offset < span.first:  # the events between it and what is recorded are in no log
            for table in ("checkpoints", "checkpoint_buckets", "entity_states"):
                connection.execute(f"DELETE FROM {table} WHERE owner = %s AND partition = %s".encode(), place)  # noqa: S608
            dropped.append(place)
            continue
        connection.execute(
            'UPDATE checkpoints SET topic_id = %s, "offset" = "offset" - %s WHERE owner = %s AND partition = %s',
            (new_id, span.first, *place),
        )
        if span.first:
            _shift_states(connection, owner, span)
    return dropped


def _shift_states(connection: psycopg.Connection, owner: str, span: Span) -> None:
    place = (owner, span.partition)
    with connection.cursor("states") as states, connection.cursor() as writes:
        states.execute(
            "SELECT entity, state FROM entity_states WHERE owner = %s AND partition = %s", place, binary=True
        )
        while rows := states.fetchmany(_ROWS):
            writes.executemany(
                'UPDATE entity_states SET "offset" = greatest(0, "offset" - %s), state = %s '
                "WHERE owner = %s AND partition = %s AND entity = %s",
                [(span.first, shifted(state, span.first), *place, entity) for entity, state in rows],
            )


def shifted(state: bytes, first: int) -> bytes:
    """A state whose offset counts from `first` on (`freshet.engine.layout`)."""
    changed = bytearray(state)
    at = 8 * (HEAD_WORDS + OFFSET)
    word = np.frombuffer(changed, "<f8", 1, at)
    word[0] = max(0.0, word[0] - first)
    return bytes(changed)
