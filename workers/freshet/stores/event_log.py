"""Reading the source topic back from the history database, where Kafka has forgotten it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import NamedTuple
from uuid import UUID

import psycopg

from freshet.stores.postgres import HistoryDown, connect, describe


class Status(IntEnum):
    """What a record of `event_log` is."""

    ACCEPTED = 0
    DUPLICATE = 1
    INVALID = 2
    ERASED = 3
    CONTROL = 4
    REFUSED = 5
    """Accepted, but PostgreSQL could not hold its payload."""


class Recorded(NamedTuple):
    """The span of a partition that is recorded: first ≤ offset < next."""

    first: int
    next: int
    judged_from: int = 0
    """From there on every record was judged by the same revisions; their entities are known."""
    judged_by: str = ""
    """Those revisions, separated by spaces."""


class Row(NamedTuple):
    """One recorded record."""

    offset: int
    broker_ms: int
    status: int
    entity: str | None
    replay_for: str | None
    payload: str | None
    id_hash: int | None = None
    """Of an erased event that had an id: the 64 bits, as a signed number, that the duplicate filter knows it by."""


_RECORDED = (
    "SELECT first_offset, next_offset, judged_from, judged_by FROM recorded WHERE topic_id = %s AND partition = %s"
)
_LOOK_SECONDS = 0.1


class EventLog:
    """The recorded records of one partition of one topic."""

    def __init__(self, url: str, topic_id: UUID, partition: int) -> None:
        self._url = url
        self._place = (topic_id, partition)

    def recorded(self, offset: int = 0, seconds: float = 0.0) -> Recorded | None:
        """What span is recorded; None: nothing. It is given up to `seconds` to reach `offset`. Raises HistoryDown."""
        end = time.monotonic() + seconds
        with _told(), connect(self._url, autocommit=True) as connection:
            while True:
                try:
                    row = connection.execute(_RECORDED, self._place).fetchone()
                except psycopg.errors.UndefinedTable:  # no recorder has ever been here
                    return None
                found = None if row is None else Recorded(*row)
                if found is None or found.next >= offset or time.monotonic() >= end:
                    return found
                time.sleep(_LOOK_SECONDS)

    def rows(self, begin: int, end: int, count: int) -> Iterator[list[Row]]:
        """Records from `begin` until before `end` in offset order, up to `count` at a time. Raises HistoryDown.

        Each part is a query of its own, so that a slow reader holds no transaction.
        """
        while begin < end:
            with _told(), connect(self._url, autocommit=True) as connection:
                while begin < end:
                    found = connection.execute(
                        'SELECT "offset", (extract(epoch FROM broker_time) * 1000)::bigint, status, entity, '
                        "replay_for, payload::text, id_hash FROM event_log WHERE topic_id = %s AND partition = %s "
                        'AND "offset" >= %s AND "offset" < %s ORDER BY "offset" LIMIT %s',
                        (*self._place, begin, end, count),
                        binary=True,
                    ).fetchall()
                    if not found:
                        return
                    begin = found[-1][0] + 1
                    yield [Row(*row) for row in found]

    def touched(self, begin: int, end: int) -> list[str] | None:
        """Entities that have records from `begin` until before `end`; None if that of some is not known.

        Raises HistoryDown.
        """
        with _told(), connect(self._url, autocommit=True) as connection:
            found = connection.execute(
                "SELECT DISTINCT entity FROM event_log WHERE topic_id = %s AND partition = %s "
                'AND "offset" >= %s AND "offset" < %s AND (entity IS NOT NULL OR status = %s)',
                (*self._place, begin, end, int(Status.REFUSED)),
                binary=True,
            ).fetchall()
        entities = [entity for (entity,) in found]
        return None if None in entities else entities


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        raise HistoryDown(describe(error)) from error
