"""Partitions of the history tables: one a day of broker time (UTC), made ahead, dropped when their time is over.

Nothing here holds a lock for long that a writer or reader waits for: `lock_timeout` bounds every wait, and what did not
work is tried again. A day that has no partition (yet) is no hindrance either: its rows go to the table's `_other`
partition and are moved when the day gets its own.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import psycopg
from psycopg import sql

from freshet.recorder.rows import DAY_MS
from freshet.recorder.topics import Retention
from freshet.stores.postgres import describe

log = logging.getLogger(__name__)

TABLES = ("event_log", "feature_snapshots")
AHEAD_DAYS = 3
"""Days that have a partition before they begin."""
_LOCK_MS = 1_000
_LOCK = 0x64617973  # "days": one change of partitions at a time in a database
_NOT_NOW = (
    psycopg.errors.LockNotAvailable,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.CheckViolation,  # a row for the day came into the `_other` partition meanwhile
    psycopg.errors.DuplicateTable,  # a partition that was detached by hand and not renamed: not ours to touch
)


def name_of(table: str, day: int) -> str:
    """The partition of a day since 1970."""
    return f"{table}_{_date(day):%Y%m%d}"


def _date(day: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)


def days_of(connection: psycopg.Connection, table: str) -> dict[int, str]:
    """The partitions that a table has, by day."""
    rows = connection.execute(
        "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = %s::regclass",
        (table,),
    ).fetchall()
    found: dict[int, str] = {}
    for (name,) in rows:
        suffix = name.removeprefix(table + "_")
        if len(suffix) == 8 and suffix.isdigit():
            day = datetime.strptime(suffix, "%Y%m%d").replace(tzinfo=UTC)
            found[(day - datetime(1970, 1, 1, tzinfo=UTC)).days] = name
    return found


def make_days(connection: psycopg.Connection, wanted: Iterable[tuple[str, int]], known: set[tuple[str, int]]) -> None:
    """Makes partitions that are missing, as far as it goes at once; `known` is added what was looked at.

    Days more than a year back or `AHEAD_DAYS` ahead get none: a producer's wrong clock makes no tables.
    Raises psycopg.Error only if the connection is lost.
    """
    missing = set(wanted) - known
    if not missing:
        return
    today = int(datetime.now(UTC).timestamp() * 1000) // DAY_MS
    known |= missing  # one try each: what fails is done by maintenance
    for table in sorted({table for table, _ in missing}):
        days = sorted(day for name, day in missing if name == table and today - 366 <= day <= today + AHEAD_DAYS)
        present = days_of(connection, table) if days else {}
        for day in days:
            if day not in present:
                _try_day(connection, table, day)


def _try_day(connection: psycopg.Connection, table: str, day: int) -> bool:
    try:
        with connection.transaction():
            _make_day(connection, table, day)
    except _NOT_NOW as error:
        log.info(
            "a partition could not be made now", extra={"partition": name_of(table, day), "error": describe(error)}
        )
        return False
    return True


def _make_day(connection: psycopg.Connection, table: str, day: int) -> None:
    """Makes and fills a table of its own first and attaches it then: that blocks nobody who reads or writes others."""
    connection.execute("SELECT set_config('lock_timeout', %s, true)", (str(_LOCK_MS),))
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
    if day in days_of(connection, table):
        return
    names = {
        "part": sql.Identifier(name_of(table, day)),
        "other": sql.Identifier(f"{table}_other"),
        "table": sql.Identifier(table),
        "begin": sql.Literal(_date(day)),
        "end": sql.Literal(_date(day + 1)),
    }
    for statement in (
        "CREATE TABLE {part} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE)",
        "LOCK TABLE {other} IN ACCESS EXCLUSIVE MODE",
        "WITH moved AS (DELETE FROM {other} WHERE broker_time >= {begin} AND broker_time < {end} RETURNING *) "
        "INSERT INTO {part} SELECT * FROM moved",
        "ALTER TABLE {table} ATTACH PARTITION {part} FOR VALUES FROM ({begin}) TO ({end})",
    ):
        connection.execute(sql.SQL(statement).format(**names))


def maintain(connection: psycopg.Connection, now_ms: int, retention: Retention) -> list[str]:
    """Makes the days around now, drops those whose time is over; returns the partitions dropped.

    Raises psycopg.Error if the connection is lost.
    """
    today = now_ms // DAY_MS
    dropped: list[str] = []
    kept = {"event_log": retention.events_ms, "feature_snapshots": retention.snapshots_ms}
    for table in TABLES:
        present = days_of(connection, table)
        for day in range(today - 1, today + AHEAD_DAYS + 1):
            if day not in present:
                _try_day(connection, table, day)
        keep_ms = kept[table]
        connection.execute(_KEEP, (table, keep_ms))
        if keep_ms is None:
            continue
        oldest = (now_ms - keep_ms) // DAY_MS
        dropped += [name for day, name in sorted(present.items()) if day < oldest and _drop(connection, table, name)]
        _drop_strays(connection, table)
    if retention.events_ms is not None:
        _drop_letters(connection, now_ms - retention.events_ms)
    return dropped


def _drop_letters(connection: psycopg.Connection, before_ms: int) -> None:
    """Dead letters go with the events of their time, in steps that lock few rows."""
    while connection.execute(_OLD_LETTERS, (before_ms / 1000, _STEP)).rowcount == _STEP:
        pass


_STEP = 5_000
_OLD_LETTERS = """
DELETE FROM dead_letters WHERE ctid IN (
    SELECT ctid FROM dead_letters WHERE first_seen < to_timestamp(%s) AND status <> 'replaying' LIMIT %s
)
"""
_KEEP = """
INSERT INTO retention AS r (table_name, keep_ms) VALUES (%s, %s) ON CONFLICT (table_name) DO UPDATE
    SET keep_ms = excluded.keep_ms, updated_at = now() WHERE r.keep_ms IS DISTINCT FROM excluded.keep_ms
"""


def _drop(connection: psycopg.Connection, table: str, name: str) -> bool:
    """Drops one day, and notes that history begins after it."""
    try:
        with connection.transaction():
            connection.execute("SELECT set_config('lock_timeout', %s, true)", (str(_LOCK_MS),))
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            # Recorders lock these rows first too, then the table: no deadlock.
            connection.execute("SELECT FROM recorded ORDER BY topic_id, partition FOR UPDATE")
            connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(sql.Identifier(table)))
            connection.execute(sql.SQL(_BEGIN_AFTER).format(part=sql.Identifier(name)))
            connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(name)))
    except _NOT_NOW as error:
        log.info("a partition could not be dropped now", extra={"partition": name, "error": describe(error)})
        return False
    log.info("a day of history was dropped, its time is over", extra={"partition": name})
    return True


_BEGIN_AFTER = """
UPDATE recorded r SET first_offset = gone.last + 1 FROM (
    SELECT o.topic_id, o.partition, (
        SELECT max(d."offset") FROM {part} d WHERE d.topic_id = o.topic_id AND d.partition = o.partition
    ) AS last FROM recorded o
) AS gone WHERE r.topic_id = gone.topic_id AND r.partition = gone.partition AND gone.last >= r.first_offset
"""


def _drop_strays(connection: psycopg.Connection, table: str) -> None:
    """Rows with a broker time far off go when their neighbours in the log have gone."""
    connection.execute(
        sql.SQL(
            "DELETE FROM {} s USING recorded r WHERE s.topic_id = r.topic_id AND s.partition = r.partition "
            'AND s."offset" < r.first_offset'
        ).format(sql.Identifier(f"{table}_other"))
    )
