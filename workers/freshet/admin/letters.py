"""Dead letters in history: finding them, counting them, and putting them aside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.rows import namedtuple_row

STATUSES = ("open", "replaying", "replayed", "discarded")
MOST = 1_000
"""Letters of one answer."""


class Place(NamedTuple):
    """Where a refused record stood, and who refused it: the key of a letter."""

    topic_id: UUID
    partition: int
    offset: int
    owner: str


@dataclass(frozen=True, slots=True)
class Filter:
    """Which letters; None and empty leave nothing out."""

    reasons: tuple[str, ...] = ()
    since: datetime | None = None
    """First seen at it or later."""
    until: datetime | None = None
    """First seen before it."""
    topic: str | None = None
    partition: int | None = None
    offset: int | None = None
    featureset: str | None = None
    """`name` or `namespace/name`."""
    statuses: tuple[str, ...] = ()

    def where(self) -> tuple[sql.Composable, dict[str, Any]]:
        """As SQL with its parameters."""
        given: dict[str, Any] = {
            "reasons": list(self.reasons) or None,
            "since": self.since,
            "until": self.until,
            "topic": self.topic,
            "partition": self.partition,
            "offset": self.offset,
            "featureset": self.featureset,
            "statuses": list(self.statuses) or None,
        }
        parts = [sql.SQL(_CONDITIONS[name]) for name, value in given.items() if value is not None]
        return (sql.SQL(" AND ").join(parts) if parts else sql.SQL("TRUE")), given


_CONDITIONS = {
    "reasons": "reason = ANY(%(reasons)s)",
    "since": "first_seen >= %(since)s",
    "until": "first_seen < %(until)s",
    "topic": "source_topic = %(topic)s",
    "partition": "source_partition = %(partition)s",
    "offset": "source_offset = %(offset)s",
    "featureset": "%(featureset)s IN (split_part(owner, '/', 2), split_part(owner, '/', 1) || '/' "
    "|| split_part(owner, '/', 2))",
    "statuses": "status = ANY(%(statuses)s)",
}


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter without its payload."""

    place: Place
    topic: str
    source_time: datetime
    """Broker time of the refused record."""
    reason: str
    sentence: str
    first_seen: datetime
    status: str
    changed_at: datetime
    replayed: tuple[int, int] | None
    """Partition and offset of the record that it was sent again as."""
    size: int
    """Bytes of the payload."""
    has_payload: bool
    """False: the record had no value at all."""

    @property
    def id(self) -> str:
        """How people name it."""
        return f"{self.topic}/{self.place.partition}/{self.place.offset}"

    @property
    def featureset(self) -> str:
        """namespace/featureset that refused it."""
        return self.place.owner.rpartition("/")[0]

    def as_json(self) -> dict[str, Any]:
        """For machines. Neither key nor payload is in it."""
        return {
            "id": self.id,
            "topic": self.topic,
            "topic_id": str(self.place.topic_id),
            "partition": self.place.partition,
            "offset": self.place.offset,
            "featureset": self.featureset,
            "revision": self.place.owner.rpartition("/")[2],
            "reason": self.reason,
            "sentence": self.sentence,
            "source_time": self.source_time.isoformat(),
            "first_seen": self.first_seen.isoformat(),
            "status": self.status,
            "changed_at": self.changed_at.isoformat(),
            "replayed": None
            if self.replayed is None
            else dict(zip(("partition", "offset"), self.replayed, strict=True)),
            "bytes": self.size,
        }


_COLUMNS = sql.SQL(
    "source_topic_id, source_partition, source_offset, owner, source_topic, source_time, reason, sentence, first_seen, "
    "status, changed_at, replayed_partition, replayed_offset, coalesce(length(payload), 0) AS size, "
    "payload IS NOT NULL AS has_payload"
)


def find(connection: psycopg.Connection, wanted: Filter, limit: int = MOST) -> list[Letter]:
    """The newest letters that fit, at most `limit`. Raises psycopg.Error."""
    where, given = wanted.where()
    query = sql.SQL(
        "SELECT {} FROM dead_letters WHERE {} ORDER BY first_seen DESC, source_topic, source_partition, source_offset, "
        "owner LIMIT %(limit)s"
    ).format(_COLUMNS, where)
    with connection.cursor(row_factory=namedtuple_row) as cursor:
        return [_letter(row) for row in cursor.execute(query, {**given, "limit": limit})]


def in_order(connection: psycopg.Connection, wanted: Filter, batch: int, most: int | None) -> Iterator[list[Letter]]:
    """The letters that fit, oldest first, in batches; at most `most`. Letters may change while it goes on."""
    where, given = wanted.where()
    query = sql.SQL(
        "SELECT {} FROM dead_letters WHERE {} "
        "AND (source_time, source_topic_id, source_partition, source_offset, owner) "
        "> (%(t)s, %(i)s, %(p)s, %(o)s, %(w)s) "
        "ORDER BY source_time, source_topic_id, source_partition, source_offset, owner LIMIT %(limit)s"
    ).format(_COLUMNS, where)
    after: dict[str, Any] = {"t": "-infinity", "i": UUID(int=0), "p": -1, "o": -1, "w": ""}
    left = most
    while left is None or left > 0:
        with connection.cursor(row_factory=namedtuple_row) as cursor:
            size = batch if left is None else min(batch, left)
            found = [_letter(row) for row in cursor.execute(query, {**given, **after, "limit": size})]
        if not found:
            return
        yield found
        last = found[-1]
        after = {"t": last.source_time, **dict(zip("ipow", last.place, strict=True))}
        left = None if left is None else left - len(found)


def _letter(row: Any) -> Letter:
    place = Place(row.source_topic_id, row.source_partition, row.source_offset, row.owner)
    replayed = None if row.replayed_offset is None else (row.replayed_partition, row.replayed_offset)
    return Letter(
        place,
        row.source_topic,
        row.source_time,
        row.reason,
        row.sentence,
        row.first_seen,
        row.status,
        row.changed_at,
        replayed,
        row.size,
        row.has_payload,
    )


class Content(NamedTuple):
    """What the refused record held."""

    key: bytes | None
    payload: bytes | None
    recorded: bool | None
    """Whether history has the record's payload as that of an event of some FeatureSet; None: it has no such record."""


def contents(connection: psycopg.Connection, places: Sequence[Place]) -> dict[Place, Content]:
    """Keys and payloads of letters that are still there. Raises psycopg.Error."""
    rows = connection.execute(
        "SELECT source_topic_id, source_partition, source_offset, owner, key, d.payload, e.payload IS NOT NULL, "
        "e.topic_id IS NULL FROM dead_letters d LEFT JOIN event_log e ON e.topic_id = source_topic_id "
        'AND e.partition = source_partition AND e."offset" = source_offset AND e.broker_time = source_time '
        "WHERE (source_topic_id, source_partition, source_offset, owner) IN "
        "(SELECT * FROM unnest(%s::uuid[], %s::int[], %s::bigint[], %s::text[]))",
        columns_of(places),
    )
    found = {}
    for *place, key, payload, recorded, unknown in rows:
        data = [None if one is None else bytes(one) for one in (key, payload)]
        found[Place(*place)] = Content(data[0], data[1], None if unknown else recorded)
    return found


def columns_of(places: Sequence[Place]) -> list[list[Any]]:
    """The places as arrays, one a column of the table's key."""
    return [[place[i] for place in places] for i in range(4)]


@dataclass(frozen=True, slots=True)
class Stat:
    """How many letters of a kind there are."""

    featureset: str
    reason: str
    status: str
    count: int
    oldest: datetime
    newest: datetime

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "featureset": self.featureset,
            "reason": self.reason,
            "status": self.status,
            "count": self.count,
            "oldest": self.oldest.isoformat(),
            "newest": self.newest.isoformat(),
        }


def stats(connection: psycopg.Connection, wanted: Filter) -> list[Stat]:
    """By FeatureSet, reason and status. Raises psycopg.Error."""
    where, given = wanted.where()
    query = sql.SQL(
        "SELECT split_part(owner, '/', 1) || '/' || split_part(owner, '/', 2) AS featureset, reason, status, count(*), "
        "min(first_seen), max(first_seen) FROM dead_letters WHERE {} GROUP BY 1, 2, 3 ORDER BY 4 DESC, 1, 2, 3"
    ).format(where)
    return [Stat(*row) for row in connection.execute(query, given)]


def discard(connection: psycopg.Connection, wanted: Filter, limit: int) -> int:
    """Puts open letters that fit aside, oldest first; returns how many. They stay readable. Raises psycopg.Error."""
    where, given = wanted.where()
    query = sql.SQL(
        "UPDATE dead_letters SET status = 'discarded', changed_at = now() "
        "WHERE (source_topic_id, source_partition, source_offset, owner) IN ("
        "SELECT source_topic_id, source_partition, source_offset, owner FROM dead_letters "
        "WHERE status = 'open' AND {} ORDER BY first_seen LIMIT %(limit)s FOR UPDATE SKIP LOCKED)"
    ).format(where)
    return connection.execute(query, {**given, "limit": limit}).rowcount
