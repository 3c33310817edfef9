"""Checkpoints of states in the history database: written by the recorder, read by a processor that lost its store.

A checkpoint at offset O holds, for one partition of one revision, every event below O: an entity's state may hold later
ones too, since applying skips what a state holds (design §6.2). The duplicate filter is the one of exactly O.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple, Self, cast
from uuid import UUID

import psycopg

from freshet.stores.erasures import keep_off
from freshet.stores.postgres import HistoryDown, connect, describe

_LONG_MS = 3_600_000
"""Longest statement of a checkpoint or a restoring: all states of a partition are written, or read, by one."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What is known of the checkpoint of one partition."""

    topic_id: UUID
    offset: int
    """Every event below it is in the states."""
    duplicates_index: bytes | None
    """Log time and minutes of the duplicate filter as of `offset`; None where the definition has none."""


class StoredState(NamedTuple):
    """One entity's state."""

    key: str
    offset: int
    """Its own: it holds all of the entity's events below it."""
    expires_ms: int | None
    blob: bytes


@dataclass(frozen=True, slots=True)
class Delta:
    """What a new checkpoint changes."""

    states: Iterator[list[StoredState]]
    removed: Iterator[list[str]]
    """Entities that have no state any more; read after `states` is at its end."""
    everything: bool
    """Whether `states` are all that there are: any other state is removed."""


class Snapshot:
    """The states of one checkpoint, read in one transaction, so that they belong together."""

    def __init__(self, connection: psycopg.Connection, owner: str, partition: int, checkpoint: Checkpoint) -> None:
        self._connection = connection
        self._place = (owner, partition)
        self.checkpoint = checkpoint

    def count(self) -> int:
        """How many states there are. Raises HistoryDown."""
        with _told():
            row = self._connection.execute(
                "SELECT count(*) FROM entity_states WHERE owner = %s AND partition = %s", self._place
            ).fetchone()
        return row[0] if row else 0

    def buckets(self) -> Iterator[tuple[int, bytes]]:
        """Buckets of the duplicate filter, one at a time. Raises HistoryDown."""
        with _told(), self._connection.cursor() as cursor:
            cursor.execute(
                "SELECT minute FROM checkpoint_buckets WHERE owner = %s AND partition = %s ORDER BY minute", self._place
            )
            for (minute,) in cursor.fetchall():
                data = cursor.execute(
                    "SELECT data FROM checkpoint_buckets WHERE owner = %s AND partition = %s AND minute = %s",
                    (*self._place, minute),
                    binary=True,
                ).fetchone()
                if data is not None:
                    yield minute, data[0]

    def states(self, now_ms: int, count: int) -> Generator[list[StoredState], None, None]:
        """All states that can still be read at `now_ms`, `count` at a time; to be closed. Raises HistoryDown."""
        query = (
            'SELECT entity, "offset", (extract(epoch FROM expires_at) * 1000)::bigint, state FROM entity_states '
            "WHERE owner = %s AND partition = %s AND (expires_at IS NULL OR expires_at > to_timestamp(%s))"
        )
        parameters = (*self._place, now_ms / 1000)
        # Rows that libpq hands over in parts: a third of what the rows of a COPY cost, one message each.
        with _told(), self._connection.cursor(row_factory=lambda _: StoredState._make) as cursor:
            rows = cast(Generator[StoredState, None, None], cursor.stream(query, parameters, binary=True, size=count))
            with closing(rows):
                while part := list(islice(rows, count)):
                    yield part


class States:
    """The tables of checkpoints. Each call has its own connection and raises HistoryDown."""

    def __init__(self, url: str) -> None:
        self._url = url

    def latest(self, owner: str, partition: int) -> Checkpoint | None:
        """The checkpoint of a partition; `owner` is namespace/featureset/revision."""
        with _told(), connect(self._url, autocommit=True) as connection:
            try:
                return _latest(connection, owner, partition)
            except psycopg.errors.UndefinedTable:  # no recorder has ever been here
                return None

    @contextmanager
    def snapshot(self, owner: str, partition: int) -> Iterator[Snapshot | None]:
        """The checkpoint with its states; None if there is none."""
        with _told(), connect(self._url, statement_ms=_LONG_MS) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            found = _latest(connection, owner, partition)
            yield None if found is None else Snapshot(connection, owner, partition, found)

    def forget(self, owner: str) -> int:
        """Deletes all checkpoints of a revision; returns how many states they held."""
        with _told(), connect(self._url, statement_ms=_LONG_MS) as connection:
            connection.execute("DELETE FROM checkpoints WHERE owner = %s", (owner,))
            connection.execute("DELETE FROM checkpoint_buckets WHERE owner = %s", (owner,))
            return connection.execute("DELETE FROM entity_states WHERE owner = %s", (owner,)).rowcount

    def writer(self) -> Writer:
        """A connection that writes checkpoints."""
        with _told():
            return Writer(connect(self._url, statement_ms=_LONG_MS))


class Stale(Exception):
    """Another recorder has written the checkpoint meanwhile."""


class Writer:
    """Writes checkpoints, each in one transaction. Raises HistoryDown; is to be closed then."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection."""
        self._connection.close()

    def latest(self, owner: str, partition: int) -> Checkpoint | None:
        """The checkpoint that is there."""
        with _told(), self._connection.transaction():
            return _latest(self._connection, owner, partition)

    def write(
        self,
        place: tuple[str, int],
        before: Checkpoint | None,
        checkpoint: Checkpoint,
        delta: Delta,
        buckets: Iterator[tuple[int, bytes]],
    ) -> tuple[int, int]:
        """Replaces the checkpoint `before` of (owner, partition); returns states written and states removed.

        The delta was made from `before`, so it is of no use if that is not what is there: raises Stale. A state that
        was erased meanwhile stays away.
        """
        with _told(), self._connection.transaction(), self._connection.cursor() as cursor:
            cursor.execute(
                'CREATE TEMP TABLE staged (entity text, "offset" int8, expires_ms int8, state bytea) ON COMMIT DROP'
            )
            cursor.execute("CREATE TEMP TABLE gone (entity text) ON COMMIT DROP")
            # First of all, so that of two recorders one waits for the other and then knows that it is too late.
            self._replace_row(cursor, place, before, checkpoint)
            self._replace_buckets(cursor, place, buckets)
            with cursor.copy("COPY staged FROM STDIN (FORMAT BINARY)") as copy:
                copy.set_types(["text", "int8", "int8", "bytea"])
                for part in delta.states:
                    for row in part:
                        copy.write_row(row)
            with cursor.copy("COPY gone FROM STDIN (FORMAT BINARY)") as copy:
                copy.set_types(["text"])
                for keys in delta.removed:
                    for key in keys:
                        copy.write_row((key,))
            return self._merge(cursor, place, checkpoint, delta.everything)

    def _replace_row(
        self, cursor: psycopg.Cursor, place: tuple[str, int], before: Checkpoint | None, checkpoint: Checkpoint
    ) -> None:
        values = (checkpoint.topic_id, checkpoint.offset, checkpoint.duplicates_index, *place)
        if before is None:
            cursor.execute(
                'INSERT INTO checkpoints (topic_id, "offset", duplicates_index, owner, partition) '
                "VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                values,
            )
        else:
            cursor.execute(
                'UPDATE checkpoints SET topic_id = %s, "offset" = %s, duplicates_index = %s, taken_at = now() '
                'WHERE owner = %s AND partition = %s AND topic_id = %s AND "offset" = %s',
                (*values, before.topic_id, before.offset),
            )
        if cursor.rowcount != 1:
            raise Stale(f"checkpoint of {place[0]}, partition {place[1]}: another one was written meanwhile")

    @staticmethod
    def _replace_buckets(cursor: psycopg.Cursor, place: tuple[str, int], buckets: Iterator[tuple[int, bytes]]) -> None:
        cursor.execute("DELETE FROM checkpoint_buckets WHERE owner = %s AND partition = %s", place)
        for minute, data in buckets:
            cursor.execute(
                "INSERT INTO checkpoint_buckets (owner, partition, minute, data) VALUES (%s, %s, %s, %s)",
                (*place, minute, data),
            )

    @staticmethod
    def _merge(
        cursor: psycopg.Cursor, place: tuple[str, int], checkpoint: Checkpoint, everything: bool
    ) -> tuple[int, int]:
        if everything:
            cursor.execute("DELETE FROM entity_states WHERE owner = %s AND partition = %s", place)
        else:
            cursor.execute(
                "DELETE FROM entity_states s USING gone g "
                "WHERE s.owner = %s AND s.partition = %s AND s.entity = g.entity",
                place,
            )
        removed = cursor.rowcount
        keep_off(cursor)
        # An erasure that was recorded while these states were read: none of them may come back (decision 8).
        cursor.execute(
            "DELETE FROM staged s USING erasures e WHERE e.topic_id = %s AND e.partition = %s AND e.entity = s.entity "
            'AND e."offset" >= s."offset"',
            (checkpoint.topic_id, place[1]),
        )
        cursor.execute(
            'INSERT INTO entity_states (owner, partition, entity, "offset", expires_at, state) '
            'SELECT %s, %s, entity, "offset", to_timestamp(expires_ms / 1000.0), state FROM staged '
            'ON CONFLICT (owner, partition, entity) DO UPDATE SET "offset" = excluded."offset", '
            "expires_at = excluded.expires_at, state = excluded.state "
            'WHERE entity_states."offset" < excluded."offset"',
            place,
        )
        return cursor.rowcount, removed

    def remove_expired(self, place: tuple[str, int], now_ms: int) -> int:
        """Deletes states that nobody can read any more; returns how many."""
        with _told(), self._connection.transaction():
            return self._connection.execute(
                "DELETE FROM entity_states WHERE owner = %s AND partition = %s AND expires_at < to_timestamp(%s)",
                (*place, now_ms / 1000),
            ).rowcount


def _latest(connection: psycopg.Connection, owner: str, partition: int) -> Checkpoint | None:
    row = connection.execute(
        'SELECT topic_id, "offset", duplicates_index FROM checkpoints WHERE owner = %s AND partition = %s',
        (owner, partition),
    ).fetchone()
    return None if row is None else Checkpoint(*row)


@contextmanager
def _told() -> Iterator[None]:
    """Every error of the database is HistoryDown, without rows or passwords."""
    try:
        yield
    except psycopg.Error as error:
        raise HistoryDown(describe(error)) from error
