"""NDJSON, CSV and Parquet as JSON rows."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import duckdb
import msgspec
import pytest

from freshet.dev.errors import CommandFailed
from freshet.dev.files import EventFile


def test_lines_are_passed_on_unread(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_bytes(b'{"n": 1.0}\n\n  {broken\r\n{"big": 12345678901234567890}')
    assert list(EventFile(str(path)).rows()) == [b'{"n": 1.0}', b"{broken", b'{"big": 12345678901234567890}']


def test_an_array_is_taken_apart(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'[{"a": 1},\n {"b":\n 2}]')
    assert [msgspec.json.decode(row) for row in EventFile(str(path)).rows()] == [{"a": 1}, {"b": 2}]
    path.write_bytes(b"[{]")
    with pytest.raises(CommandFailed, match=r"a\.json: is not a JSON array"):
        list(EventFile(str(path)).rows())


def test_csv_keeps_text_that_looks_like_a_number(tmp_path: Path) -> None:
    path = tmp_path / "it's.csv"
    path.write_text('id,n,at,city\n0042,7,2026-01-05 10:30:00,"Zürich, ""x"""\n0043,,2026-01-06 10:30:00,\n')
    file = EventFile(str(path))
    assert file.count() == 2
    assert file.columns() == ["id", "n", "at", "city"]
    first, second = (msgspec.json.decode(row) for row in file.rows())
    assert first == {"id": "0042", "n": 7, "at": "2026-01-05 10:30:00", "city": 'Zürich, "x"'}
    assert second["n"] is None


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    query = "SELECT 'u' || i AS user_id, i * 1.5 AS amount, {'city': 'Lima'} AS geo FROM range(3) t(i)"
    duckdb.execute(f"COPY ({query}) TO '{path}' (FORMAT parquet)")
    rows = [msgspec.json.decode(row) for row in EventFile(str(path)).rows()]
    assert rows[2] == {"user_id": "u2", "amount": 3.0, "geo": {"city": "Lima"}}


def test_standard_input_can_be_read_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b'{"a":1}\n{"a":2}\n')))
    file = EventFile("-")
    assert list(file.rows()) == list(file.rows()) == [b'{"a":1}', b'{"a":2}']


@pytest.mark.parametrize(("name", "text"), [("a.xlsx", "must end in"), ("none.csv", "there is no such file")])
def test_what_cannot_be_read_is_said(tmp_path: Path, name: str, text: str) -> None:
    if name == "a.xlsx":
        (tmp_path / name).touch()
    with pytest.raises(CommandFailed, match=text):
        EventFile(str(tmp_path / name))


def test_a_broken_parquet_file_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(b"nothing")
    with pytest.raises(CommandFailed, match="cannot be read"):
        list(EventFile(str(path)).rows())
