"""`freshet history`: what PostgreSQL holds of the log, how far it is behind, and what it takes on disk."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psycopg
from confluent_kafka import KafkaException
from rich.console import Console
from rich.table import Table

from freshet.dev.errors import CommandFailed
from freshet.runtime.settings import KafkaSettings
from freshet.stores import kafka
from freshet.stores.postgres import HistoryDown, connect, describe

_STATEMENT_MS = 20_000


@dataclass(frozen=True, slots=True)
class Part:
    """A table, or one day of one."""

    table: str
    day: str | None
    """The day of broker time (UTC); `other` for rows far off; None for a table that is not cut into days."""
    rows: int
    """PostgreSQL's estimate, as of its last analysis; -1 where there was none."""
    size: int
    """Bytes with indexes."""


@dataclass(frozen=True, slots=True)
class Position:
    """How far one partition of a topic is recorded."""

    topic: str
    partition: int
    first_offset: int
    next_offset: int
    lag: int | None
    """Records not recorded yet; None where Kafka was not asked or did not answer."""
    newest_ms: int | None
    """Broker time of the newest record; None before the first one."""
    updated_ms: int


@dataclass(frozen=True, slots=True)
class History:
    """All of it."""

    parts: tuple[Part, ...]
    retention_ms: dict[str, int | None]
    """How long rows are kept, by table; None: for ever."""
    positions: tuple[Position, ...]
    kafka: str | None
    """Why there is no lag."""


def look(url: str, settings: KafkaSettings | None) -> History:
    """Asks the database, and Kafka where `settings` are given. Raises CommandFailed."""
    try:
        with connect(url, autocommit=True, statement_ms=_STATEMENT_MS) as connection:
            parts = tuple(Part(*row) for row in connection.execute(_PARTS))
            kept = connection.execute("SELECT table_name, keep_ms FROM retention").fetchall()
            recorded = connection.execute(_RECORDED).fetchall()
    except psycopg.errors.UndefinedTable:
        raise CommandFailed("this database holds no history yet: no recorder has used it") from None
    except HistoryDown as error:
        raise CommandFailed(str(error)) from None
    except psycopg.Error as error:
        raise CommandFailed(describe(error)) from None
    ends, problem = _ends([(row[0], row[1]) for row in recorded], settings)
    positions = tuple(_position(row, ends) for row in recorded)
    return History(parts, dict(kept), positions, problem)


_PARTS = """
SELECT p.relname, CASE WHEN c.relname = p.relname || '_other' THEN 'other' ELSE right(c.relname, 8) END,
    c.reltuples::bigint, pg_total_relation_size(c.oid)
FROM pg_class p JOIN pg_inherits i ON i.inhparent = p.oid JOIN pg_class c ON c.oid = i.inhrelid
WHERE p.oid IN ('event_log'::regclass, 'feature_snapshots'::regclass)
UNION ALL
SELECT relname, NULL, reltuples::bigint, pg_total_relation_size(oid) FROM pg_class
WHERE oid IN ('dead_letters'::regclass, 'entity_states'::regclass, 'checkpoint_buckets'::regclass, 'erasures'::regclass)
ORDER BY 1, 2
"""
_RECORDED = """
SELECT topic, partition, first_offset, next_offset, nullif(log_ms, -1),
    (extract(epoch FROM updated_at) * 1000)::bigint
FROM (SELECT DISTINCT ON (topic, partition) * FROM recorded ORDER BY topic, partition, updated_at DESC) AS newest
ORDER BY topic, partition
"""


def _position(row: Sequence[Any], ends: dict[tuple[str, int], int]) -> Position:
    topic, partition, first, following, newest_ms, updated_ms = row
    end = ends.get((topic, partition))
    lag = None if end is None else max(0, end - following)
    return Position(topic, partition, first, following, lag, newest_ms, updated_ms)


def _ends(
    places: list[tuple[str, int]], settings: KafkaSettings | None
) -> tuple[dict[tuple[str, int], int], str | None]:
    if settings is None:
        return {}, "Kafka was not asked: name it with --kafka"
    try:
        bounds = kafka.many_log_bounds(kafka.admin(settings), places, 10.0) if places else {}
    except KafkaException as error:
        return {}, f"Kafka: {error.args[0].str()}"
    known = {place: found[1] for place, found in bounds.items() if not isinstance(found, KafkaException)}
    failed = [found for found in bounds.values() if isinstance(found, KafkaException)]
    return known, f"Kafka: {failed[0].args[0].str()}" if failed else None


def show(url: str, bootstrap: str | None, config: Path | None, *, as_json: bool, console: Console) -> None:
    """Prints it. Raises CommandFailed, ConfigurationError."""
    settings = None if bootstrap is None else KafkaSettings(bootstrap=bootstrap, config_file=config)
    history = look(url, settings)
    if as_json:
        console.print_json(json.dumps(asdict(history)))
        return
    console.print(_parts_table(history))
    console.print(_positions_table(history, time.time_ns() // 1_000_000))
    if history.kafka is not None:
        console.print(f"[yellow]{history.kafka}[/]")


def _parts_table(history: History) -> Table:
    table = Table(title="tables", title_justify="left")
    for name in ("table", "day", "rows, about", "size", "kept"):
        table.add_column(name, justify="right" if name in ("rows, about", "size") else "left")
    for part in history.parts:
        rows = f"{part.rows:,}" if part.rows >= 0 else "?"
        keep = history.retention_ms.get(part.table)
        table.add_row(part.table, _day(part.day), rows, _size(part.size), _duration(keep) if part.day else "")
    return table


def _positions_table(history: History, now_ms: int) -> Table:
    table = Table(title="topics", title_justify="left")
    for name in ("topic", "partition", "from", "until", "lag", "newest record"):
        table.add_column(name, justify="left" if name == "topic" else "right")
    for one in history.positions:
        lag = "?" if one.lag is None else f"{one.lag:,}"
        age = "" if one.newest_ms is None else f"{_duration(max(0, now_ms - one.newest_ms))} ago"
        table.add_row(one.topic, str(one.partition), f"{one.first_offset:,}", f"{one.next_offset:,}", lag, age)
    return table


def _day(day: str | None) -> str:
    return f"{day[:4]}-{day[4:6]}-{day[6:]}" if day is not None and day.isdigit() else day or ""


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:,.0f} {unit}" if unit == "B" else f"{count:,.1f} {unit}"
        count /= 1024
    return f"{count:,.1f} TiB"


def _duration(milliseconds: int | None) -> str:
    if milliseconds is None:
        return "for ever"
    seconds = milliseconds // 1000
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
