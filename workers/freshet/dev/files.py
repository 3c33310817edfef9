"""Event logs in files: NDJSON as it is, CSV and Parquet through DuckDB, each row as one JSON object."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import msgspec

from freshet.dev.errors import CommandFailed, NotInstalled

if TYPE_CHECKING:
    import duckdb

_LINES = (".ndjson", ".jsonl", ".json", "")
_TABLES = (".csv", ".tsv", ".parquet", ".gz")
_CHUNK = 10_000


class EventFile:
    """One file, or standard input (`-`, NDJSON), that can be read more than once."""

    def __init__(self, path: str) -> None:
        """Raises CommandFailed for a file that does not exist or is of another kind."""
        self.name = "stdin" if path == "-" else Path(path).name
        self._path = Path(path)
        self._kept: list[bytes] | None = None
        self._is_stdin = path == "-"
        suffixes = self._path.suffixes[-2:]
        self._is_lines = self._is_stdin or (suffixes[-1] if suffixes else "") in _LINES
        if not self._is_stdin and not self._path.is_file():
            raise CommandFailed(f"{path}: there is no such file")
        if not self._is_lines and not any(suffix in _TABLES for suffix in suffixes):
            raise CommandFailed(f"{path}: must end in .ndjson, .jsonl, .json, .csv, .tsv or .parquet")

    def count(self) -> int | None:
        """How many rows there are; None when only reading them would tell."""
        if self._is_lines:
            return None
        with self._connection() as database:
            (counted,) = _one(database, f"SELECT count(*) FROM {self._table(database)}")  # noqa: S608 - see _table
        return int(counted)

    def columns(self) -> list[str] | None:
        """Names of the columns; None for NDJSON, where each row has its own."""
        if self._is_lines:
            return None
        with self._connection() as database:
            return list(_columns(database, self._table(database)))

    def rows(self) -> Iterator[bytes]:
        """Each row as JSON text; a line that is not JSON as it is."""
        return self._lines() if self._is_lines else self._records()

    def _lines(self) -> Iterator[bytes]:
        if self._is_stdin:
            # Kept, because --shift-to-now reads twice and standard input cannot be read again.
            if self._kept is None:
                self._kept = [line.strip() for line in sys.stdin.buffer if line.strip()]
            yield from self._kept
            return
        with self._path.open("rb") as file:
            if _is_array(file):
                yield from self._array(file.read())
                return
            for line in file:
                if line.strip():
                    yield line.strip()

    def _array(self, content: bytes) -> list[bytes]:
        try:
            return [bytes(raw).replace(b"\n", b" ") for raw in msgspec.json.decode(content, type=list[msgspec.Raw])]
        except msgspec.DecodeError as error:
            raise CommandFailed(f"{self.name}: is not a JSON array: {error}") from error

    def _records(self) -> Iterator[bytes]:
        with self._connection() as database:
            found = database.execute(f"SELECT to_json(t)::VARCHAR FROM {self._table(database)} t")  # noqa: S608 - see _table
            while chunk := found.fetchmany(_CHUNK):
                yield from (text.encode() for (text,) in chunk)

    def _table(self, database: duckdb.DuckDBPyConnection) -> str:
        """A table function of this file; names are quoted, so that no file name is read as SQL."""
        path = _literal(str(self._path))
        if ".parquet" in self._path.suffixes:
            return f"read_parquet({path})"
        kinds = _columns(database, f"read_csv({path}, sample_size = -1)")
        texts = [name for name, kind in kinds.items() if kind == "BIGINT" and self._has_leading_zero(database, name)]
        types = ", ".join(f"{_literal(name)}: 'VARCHAR'" for name in texts)
        return f"read_csv({path}, sample_size = -1{f', types = {{{types}}}' if types else ''})"

    def _has_leading_zero(self, database: duckdb.DuckDBPyConnection, column: str) -> bool:
        """Whether a column of whole numbers is not one: 0042 is the name of something, not the number 42."""
        plain = f"read_csv({_literal(str(self._path))}, all_varchar = true)"
        query = f"SELECT bool_or({_name(column)} SIMILAR TO '0[0-9]+') FROM {plain}"  # noqa: S608 - quoted
        return bool(_one(database, query)[0])

    @contextmanager
    def _connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        try:
            import duckdb
        except ImportError as error:
            raise NotInstalled("the package duckdb (it reads CSV and Parquet) is missing: run `make setup`") from error
        with duckdb.connect() as database:
            # A time without zone stays one; the sender gives it the zone that the user said.
            database.execute("SET TimeZone = 'UTC'")
            try:
                yield database
            except duckdb.Error as error:
                raise CommandFailed(f"{self._path}: cannot be read: {error}") from error


def _columns(database: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    """Column name → type."""
    return {row[0]: row[1] for row in database.execute(f"DESCRIBE FROM {table}").fetchall()}


def _one(database: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    row = database.execute(query).fetchone()
    assert row is not None, "an aggregate always gives one row"
    return tuple(row)


def _is_array(file: IO[bytes]) -> bool:
    first = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    file.seek(0)
    return first == b"["


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _name(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def decode(row: bytes) -> dict[str, Any] | None:
    """The row as an object; None where it is none."""
    try:
        value = msgspec.json.decode(row)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
