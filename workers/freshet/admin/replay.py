"""Sends dead letters again, each at most once (decision 8).

A letter is first noted as `replaying`, then sent, then noted as `replayed`. Whoever dies in between, or gets no answer
from Kafka (the client does not send again what Kafka may have), leaves it in doubt: the recorder, which reads the log,
notes it when it sees the record; `resolve` opens it again when it cannot come any more. One replay or erasure request
at a time: a letter must not be sent behind the erasure of its entity.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import psycopg
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from freshet.admin.installation import Installation, Unavailable
from freshet.admin.judge import Judge, Outcome, Verdict
from freshet.admin.letters import Content, Filter, Letter, Place, columns_of, contents, in_order
from freshet.admin.sources import began_in, topic_ids
from freshet.spec import headers as names
from freshet.stores import kafka
from freshet.stores.postgres import HistoryDown, describe
from freshet.stores.topics import topic_uuid

BATCH = 100
"""Letters that are on their way at a time."""
_BATCH_BYTES = 8 << 20
"""Their payloads together; a letter carries whatever a foreign topic held."""
_LOCK = 0x7265706C6179  # "replay"
_IN_DOUBT_SECONDS = 90
"""After it a record that a producer has sent is in the log or will never be: three times its delivery time-out."""
_NOT_SENT = (
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001 - the client's public names
    KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
)
"""Errors that say that Kafka does not have the record."""


@contextmanager
def alone(connection: psycopg.Connection) -> Iterator[None]:
    """No other replay and no erasure request is under way inside. Raises Unavailable if one does not end."""
    try:
        connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
    except psycopg.errors.QueryCanceled:
        raise Unavailable("another replay or erasure is under way: try again when it is done") from None
    try:
        yield
    finally:
        if not connection.closed:
            connection.execute("SELECT pg_advisory_unlock(%s)", (_LOCK,))


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be replayed."""

    wanted: Filter
    limit: int | None = None
    dry_run: bool = False


def replay(installation: Installation, order: Order, tell: Callable[[Sequence[Verdict]], None]) -> None:
    """Replays the letters that fit, oldest first, and tells what became of each batch.

    Raises HistoryDown, Refused, Unavailable; what was told before is done.
    """
    try:
        with installation.history() as connection:
            judge = Judge(installation.named(), topic_ids(installation), began_in(installation))
            sender = None if order.dry_run else _Sender(installation, connection)
            # Of a letter that is named it is said why it is not sent; of all that fit, the open ones are meant.
            wanted = order.wanted if order.wanted.offset is not None else replace(order.wanted, statuses=("open",))
            for batch in _bounded(in_order(connection, wanted, BATCH, order.limit)):
                held = contents(connection, [letter.place for letter in batch])
                now_ms = time.time_ns() // 1_000_000
                verdicts = [judge.judge(letter, held.get(letter.place), now_ms) for letter in batch]
                tell(verdicts if sender is None else sender.send(verdicts, held))
    except psycopg.Error as error:
        raise HistoryDown(describe(error)) from error


def _bounded(batches: Iterable[list[Letter]]) -> Iterator[list[Letter]]:
    """The same letters in batches whose payloads fit into memory together."""
    for batch in batches:
        part: list[Letter] = []
        size = 0
        for letter in batch:
            if part and size + letter.size > _BATCH_BYTES:
                yield part
                part, size = [], 0
            part.append(letter)
            size += letter.size
        yield part


class _Sender:
    """Sends the accepted ones of a batch."""

    def __init__(self, installation: Installation, connection: psycopg.Connection) -> None:
        self._installation = installation
        self._connection = connection
        self._producers: dict[str, Producer] = {}

    def send(self, verdicts: Sequence[Verdict], held: dict[Place, Content]) -> list[Verdict]:
        """Intent, sending, and what became of it."""
        good = [verdict for verdict in verdicts if verdict.outcome is Outcome.ACCEPTED]
        if not good:
            return list(verdicts)
        with alone(self._connection):
            taken = self._intend([verdict.letter for verdict in good], [verdict.entity or "" for verdict in good])
            sent = self._produce([v for v in good if v.letter.place in taken], held)
            self._settle(sent)
        missed = "it was replayed, discarded or erased in the meantime, or another letter of the same record was"
        done = {verdict.letter.place: verdict for verdict in sent}
        return [
            done.get(v.letter.place, replace(v, outcome=Outcome.NOT_OPEN, sentence=missed))
            if v.outcome is Outcome.ACCEPTED
            else v
            for v in verdicts
        ]

    def _intend(self, letters: Sequence[Letter], entities: Sequence[str]) -> set[Place]:
        """Notes that these are about to be sent; returns those that may be."""
        rows = self._connection.execute(_INTEND, [*columns_of([one.place for one in letters]), list(entities)])
        return {Place(*row) for row in rows.fetchall()}

    def _produce(self, verdicts: Sequence[Verdict], held: dict[Place, Content]) -> list[Verdict]:
        """Sends, and waits until Kafka has answered for each or the client has given up."""
        answers: dict[Place, Verdict] = {}
        used = set()
        for verdict in verdicts:
            target, place = verdict.target, verdict.letter.place
            assert target is not None, "accepted by somebody"
            assert verdict.entity is not None
            producer = self._producer(target.source.partitioner)
            used.add(producer)

            def delivered(error: KafkaError | None, message: Message, verdict: Verdict = verdict) -> None:
                answers[verdict.letter.place] = _answer(verdict, error, message)

            headers = {
                names.FOR: self._installation.owner(target),
                names.SOURCE_TOPIC_ID: str(place.topic_id),
                names.SOURCE_PARTITION: str(place.partition),
                names.SOURCE_OFFSET: str(place.offset),
            }
            try:
                producer.produce(
                    target.source.topic,
                    key=verdict.entity.encode(),
                    value=held[place].payload,
                    headers={name: value.encode() for name, value in headers.items()},
                    on_delivery=delivered,
                )
            except (BufferError, KafkaException) as error:
                problem = error.args[0].str() if isinstance(error, KafkaException) else "the client's queue is full"
                answers[place] = replace(verdict, outcome=Outcome.FAILED, sentence=f"Kafka: {problem}")
        for producer in used:
            producer.flush(kafka.DELIVERY_SECONDS + 5)
        doubt = "Kafka did not answer in time"
        return [answers.get(v.letter.place, replace(v, outcome=Outcome.IN_DOUBT, sentence=doubt)) for v in verdicts]

    def _settle(self, verdicts: Sequence[Verdict]) -> None:
        for verdict in verdicts:
            if verdict.replayed is not None:
                self._connection.execute(_DONE, (*verdict.replayed, *verdict.letter.place))
            elif verdict.outcome is Outcome.FAILED:
                self._connection.execute(_REOPEN, verdict.letter.place)

    def _producer(self, partitioner: str) -> Producer:
        if partitioner not in self._producers:
            self._producers[partitioner] = kafka.producer(self._installation.kafka, partitioner, resend=False)
        return self._producers[partitioner]


def _answer(verdict: Verdict, error: KafkaError | None, message: Message) -> Verdict:
    if error is None:
        at = (message.partition() or 0, message.offset() or 0)
        sentence = f"sent as offset {at[1]} of partition {at[0]}"
        return replace(verdict, outcome=Outcome.REPLAYED, sentence=sentence, replayed=at)
    known = error.code() in _NOT_SENT
    return replace(verdict, outcome=Outcome.FAILED if known else Outcome.IN_DOUBT, sentence=f"Kafka: {error.str()}")


_INTEND = """
UPDATE dead_letters AS d SET status = 'replaying', changed_at = now()
FROM (
    SELECT DISTINCT ON (topic_id, partition, "offset", split_part(owner, '/', 1), split_part(owner, '/', 2)) *
    FROM unnest(%s::uuid[], %s::int[], %s::bigint[], %s::text[], %s::text[])
        AS given (topic_id, partition, "offset", owner, about)
) AS one
WHERE d.source_topic_id = one.topic_id AND d.source_partition = one.partition AND d.source_offset = one."offset"
    AND d.owner = one.owner AND d.status = 'open'
    AND NOT EXISTS (
        SELECT FROM dead_letters other
        WHERE other.source_topic_id = d.source_topic_id AND other.source_partition = d.source_partition
            AND other.source_offset = d.source_offset AND other.status IN ('replaying', 'replayed')
            AND split_part(other.owner, '/', 1) = split_part(d.owner, '/', 1)
            AND split_part(other.owner, '/', 2) = split_part(d.owner, '/', 2))
    AND NOT EXISTS (
        SELECT FROM erasure_requests r LEFT JOIN erasures e USING (topic_id, partition, "offset")
        WHERE r.entity IN (one.about, d.entity) AND r.topic = d.source_topic AND e.applied_at IS NULL
            AND (r."offset" IS NOT NULL OR r.requested_at > now() - interval '10 minutes'))
RETURNING d.source_topic_id, d.source_partition, d.source_offset, d.owner
"""
_DONE = """
UPDATE dead_letters SET status = 'replayed', changed_at = now(), replayed_partition = %s, replayed_offset = %s
WHERE source_topic_id = %s AND source_partition = %s AND source_offset = %s AND owner = %s AND status = 'replaying'
"""
_REOPEN = """
UPDATE dead_letters SET status = 'open', changed_at = now()
WHERE source_topic_id = %s AND source_partition = %s AND source_offset = %s AND owner = %s AND status = 'replaying'
"""


def resolve(installation: Installation) -> int:
    """Opens letters again whose replay was interrupted and has not come into the log; returns how many.

    A letter whose record did come is noted by the recorder in the transaction that records it. So once all of a topic
    is recorded up to its present end, and no producer can be at it any more, what is left was never sent.
    Raises HistoryDown, Unavailable.
    """
    try:
        with installation.history() as connection, alone(connection):
            found = connection.execute(
                "SELECT source_topic, now() FROM dead_letters WHERE status = 'replaying' "
                "AND changed_at < now() - make_interval(secs => %s) GROUP BY 1",
                (_IN_DOUBT_SECONDS,),
            ).fetchall()
            sources = {fs.source.topic for fs in installation.featuresets()}
            opened = 0
            for topic, now in found:
                # The record may have gone to any topic that FeatureSets read now.
                if all(_recorded(installation, connection, name) for name in sources | {topic}):
                    opened += connection.execute(_OPEN, (topic, now, _IN_DOUBT_SECONDS)).rowcount
            return opened
    except psycopg.Error as error:
        raise HistoryDown(describe(error)) from error


_OPEN = """
UPDATE dead_letters SET status = 'open', changed_at = now()
WHERE status = 'replaying' AND source_topic = %s AND changed_at < %s::timestamptz - make_interval(secs => %s)
"""


def _recorded(installation: Installation, connection: psycopg.Connection, topic: str) -> bool:
    """Whether the recorder has come to the topic's present end. A topic that is gone holds nothing."""
    admin, client = kafka.admin(installation.kafka), kafka.consumer(installation.kafka, "freshet.admin")
    try:
        info = kafka.describe_topic(admin, topic)
        ends = {p: kafka.log_bounds(client, topic, p)[1] for p in range(info.partitions)}
    except KafkaException as error:
        if error.args[0].code() == kafka.NO_SUCH_TOPIC:
            return True
        raise Unavailable(f"Kafka: {error.args[0].str()}") from None
    finally:
        client.close()
    rows = connection.execute(
        "SELECT partition, next_offset FROM recorded WHERE topic_id = %s", (topic_uuid(info.topic_id),)
    )
    recorded: dict[int, int] = dict(rows.fetchall())
    return all(end == 0 or recorded.get(p, -1) >= end for p, end in ends.items())
