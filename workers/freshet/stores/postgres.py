"""PostgreSQL as this project needs it: connections with bounded waits, and versioned migrations.

All tables are in the schema `freshet`. psycopg is used directly; rows in bulk go by binary COPY (see `recorder`).
"""

from __future__ import annotations

from importlib import resources
from typing import Any

import psycopg
from psycopg import sql

SCHEMA = "freshet"
CONNECT_SECONDS = 5
_STATEMENT_MS = 60_000
"""Longest statement. A recorder's COPY of one batch takes well under a second."""
_MIGRATION_LOCK = 0x66726573686574  # "freshet": one migration at a time in a database


class HistoryDown(Exception):
    """PostgreSQL cannot be used now; the online path goes on without it."""


class NewerSchema(Exception):
    """The database was migrated by a newer Freshet: this one must not write to it."""


def connect(
    url: str, *, autocommit: bool = False, statement_ms: int = _STATEMENT_MS, application: str = "freshet"
) -> psycopg.Connection:
    """A connection whose search path is the schema; the server lists it as `application`.

    Raises HistoryDown, without quoting the URL.
    """
    given = parameters(statement_ms) | {"application_name": application}
    try:
        return psycopg.connect(url, autocommit=autocommit, **given)
    except psycopg.Error as error:
        raise HistoryDown(describe(error)) from error


def parameters(statement_ms: int, **settings: str | int) -> dict[str, Any]:
    """Parameters of every connection: the schema, UTC, and an end to each wait. `settings` are more of the server's."""
    given = {
        "search_path": SCHEMA,
        "statement_timeout": statement_ms,
        "idle_in_transaction_session_timeout": 60_000,
        "timezone": "UTC",
        **settings,
    }
    return {
        "connect_timeout": CONNECT_SECONDS,
        "keepalives_idle": 10,
        "keepalives_interval": 3,
        "keepalives_count": 3,
        "tcp_user_timeout": 15_000,
        "application_name": "freshet",
        "client_encoding": "UTF8",
        "options": " ".join(f"-c {name}={value}" for name, value in given.items()),
    }


def describe(error: psycopg.Error) -> str:
    """A sentence about a database error that never quotes rows or the password."""
    primary = error.diag.message_primary
    if primary:
        return f"PostgreSQL: {primary} ({error.sqlstate})"
    return f"PostgreSQL: {str(error).splitlines()[0] if str(error) else type(error).__name__}"


def migrations() -> list[tuple[int, str]]:
    """Number and text of every migration of this version, in order."""
    folder = resources.files(__package__).joinpath("migrations")
    found = [(int(item.name[:4]), item.read_text("utf-8")) for item in folder.iterdir() if item.name.endswith(".sql")]
    return sorted(found)


def _require_utf8(connection: psycopg.Connection) -> None:
    """In a database of another encoding not every JSON text can be stored or read. Raises HistoryDown."""
    row = connection.execute("SHOW server_encoding").fetchone()
    if row is None or row[0] != "UTF8":
        raise HistoryDown(
            f"PostgreSQL: the database's encoding is {row and row[0]}, it must be UTF8: "
            "make one with createdb --encoding UTF8 --template template0"
        )


def migrate(url: str) -> list[int]:
    """Brings the schema to this version; returns the migrations that were applied. Safe from any number of processes.

    Each migration and its note are one transaction under a lock, so that whoever comes second finds it done.
    Raises HistoryDown (for a database that is not in UTF8, too), NewerSchema.
    """
    known = migrations()
    applied: list[int] = []
    try:
        with connect(url, autocommit=True) as connection:
            _require_utf8(connection)
            connection.execute("SELECT pg_advisory_lock(%s)", (_MIGRATION_LOCK,))
            connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(SCHEMA)))
            connection.execute(
                "CREATE TABLE IF NOT EXISTS migrations "
                "(number integer PRIMARY KEY, applied_at timestamptz DEFAULT now())"
            )
            row = connection.execute("SELECT coalesce(max(number), 0) FROM migrations").fetchone()
            present = row[0] if row else 0
            if present > known[-1][0]:
                raise NewerSchema(
                    f"the database has migration {present}, this version knows {known[-1][0]}: use the newer version"
                )
            for number, text in known:
                if number > present:
                    with connection.transaction():
                        connection.execute(text.encode())
                        connection.execute("INSERT INTO migrations (number) VALUES (%s)", (number,))
                    applied.append(number)
    except psycopg.Error as error:
        raise HistoryDown(describe(error)) from error
    return applied
