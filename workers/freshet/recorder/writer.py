"""One transaction of the recorder: the rows of some partitions and their offsets, all or nothing.

Rows that the database refuses (text with a NUL, say) never block the others: they are found by halving, and recorded as
bare places or left out, and counted.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from freshet.recorder import fence
from freshet.recorder.days import make_days
from freshet.recorder.fence import Step
from freshet.recorder.rows import Rows
from freshet.stores import copy_rows
from freshet.stores.erasures import Forgotten, forgotten
from freshet.stores.postgres import HistoryDown, describe

log = logging.getLogger(__name__)

_CHUNK = 1 << 20
"""Bytes that the client takes at once: larger writes are copied more often."""


@dataclass(frozen=True, slots=True)
class Also:
    """Something else that belongs to the transaction of some rows, done when these are there."""

    table: str
    do: Callable[[psycopg.Connection], int]
    """Returns how many rows it wrote; may be called again after it was rolled back."""
    first: bool = False
    """Whether it is done before the rows, since they depend on it."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one partition has for a transaction."""

    step: Step
    rows: Sequence[Rows]
    """In offset order."""
    also: Sequence[Also] = ()


@dataclass(slots=True)
class Outcome:
    """What became of a transaction that was committed."""

    done: list[bool] = field(default_factory=list)
    """Of each part: whether it is recorded. The others belong to another owner."""
    rows: Counter[str] = field(default_factory=Counter)
    """Written, by table."""
    refused: Counter[str] = field(default_factory=Counter)
    """Rows that the database did not take, by table."""


def write(connection: psycopg.Connection, parts: Sequence[Part], known_days: set[tuple[str, int]]) -> Outcome:
    """Records the parts. Raises HistoryDown: then nothing, or all of it, is recorded; only a take-over can tell.

    `known_days` are the (table, day) that are known to have a partition; it is added to.
    """
    try:
        make_days(connection, {(r.table, int(day)) for p in parts for r in p.rows for day in r.days()}, known_days)
        try:
            return _transaction(connection, parts, careful=False)
        except psycopg.DataError as error:
            log.warning("PostgreSQL refuses rows, they are looked for", extra={"error": describe(error)})
            return _transaction(connection, parts, careful=True)
    except psycopg.Error as error:
        raise HistoryDown(describe(error)) from error


def _transaction(connection: psycopg.Connection, parts: Sequence[Part], *, careful: bool) -> Outcome:
    outcome = Outcome()
    with connection.transaction():
        outcome.done = fence.lock(connection, [part.step for part in parts])
        mine = [part for part, good in zip(parts, outcome.done, strict=True) if good]
        copied = _Copied(connection, outcome, careful)
        others = [also for part in mine for also in part.also]
        copied.also([also for also in others if also.first])
        copied.rows([rows for part in mine for rows in part.rows])
        copied.also([also for also in others if not also.first])
        if mine:
            fence.advance(connection, [part.step for part in mine])
    return outcome


class _Copied:
    """What is written inside one transaction."""

    def __init__(self, connection: psycopg.Connection, outcome: Outcome, careful: bool) -> None:
        """`careful`: what the database refuses is looked for, row by row, instead of failing all."""
        self._connection = connection
        self._outcome = outcome
        self._careful = careful

    def rows(self, every: Sequence[Rows]) -> None:
        """Writes rows, those of one table together."""
        tables: dict[str, list[Rows]] = {}
        named = set[str]().union(*(rows.entities() for rows in every))
        gone = forgotten(self._connection, named) if named else Forgotten({})
        for rows in every:
            admitted = rows.admitted(gone)
            if len(admitted):
                tables.setdefault(rows.table, []).append(admitted)
        for table, found in tables.items():
            if self._careful:
                for rows in found:
                    self._copy_or_halve(rows)
            else:
                _copy(self._connection, found)
                self._outcome.rows[table] += sum(map(len, found))

    def also(self, every: Sequence[Also]) -> None:
        """Does what belongs to the rows."""
        for one in every:
            try:
                if self._careful:
                    with self._connection.transaction():  # a savepoint
                        self._outcome.rows[one.table] += one.do(self._connection)
                else:
                    self._outcome.rows[one.table] += one.do(self._connection)
            except psycopg.DataError as error:
                if not self._careful:
                    raise
                self._outcome.refused[one.table] += 1
                log.error("PostgreSQL does not take it", extra={"table": one.table, "sqlstate": error.sqlstate})

    def _copy_or_halve(self, rows: Rows) -> None:
        try:
            with self._connection.transaction():  # a savepoint
                _copy(self._connection, [rows])
        except psycopg.DataError as error:
            if len(rows) > 1:
                half = len(rows) // 2
                self._copy_or_halve(rows.cut(0, half))
                self._copy_or_halve(rows.cut(half, len(rows)))
                return
            self._outcome.refused[rows.table] += 1
            bare = rows.bare()
            _tell(rows, error, kept=bare is not None)
            if bare is None:
                return
            _copy(self._connection, [bare])
        self._outcome.rows[rows.table] += len(rows)


def _tell(rows: Rows, error: psycopg.Error, *, kept: bool) -> None:
    place, offset = rows.place, int(rows.offset[0])
    log.error(
        "PostgreSQL does not take a record" + ("; its place is kept" if kept else ""),
        extra={"topic": place.topic, "partition": place.partition, "offset": offset, "sqlstate": error.sqlstate},
    )


def _copy(connection: psycopg.Connection, found: Sequence[Rows]) -> None:
    columns = sql.SQL(", ").join(map(sql.Identifier, found[0].columns))
    command = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(sql.Identifier(found[0].table), columns)
    data = memoryview(b"".join([copy_rows.HEAD, *(rows.encode() for rows in found), copy_rows.TAIL]))
    with connection.cursor() as cursor, cursor.copy(command) as copy:
        for begin in range(0, len(data), _CHUNK):
            copy.write(data[begin : begin + _CHUNK])
