"""Functions of texts and casts of texts on any text: every letter, and texts that are nearly numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from freshet.engine.column import Column
from freshet.engine.evaluate import evaluate
from freshet.engine.evaluate_texts import matcher
from freshet.spec.expr.check import compile_expression
from freshet.spec.expr.scope import Scope
from freshet.spec.expr.sql import to_sql
from freshet.spec.expr.tree import Type

SCOPE = Scope({"s": Type.TEXT}, "field", now=False)
MANY = settings(max_examples=200, deadline=None)
LETTERS = st.characters(exclude_categories=["Cs"])


@pytest.fixture(scope="module")
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


def both(database: duckdb.DuckDBPyConnection, text: str, values: list[str]) -> tuple[list[Any], list[Any], int]:
    """What the engine and DuckDB say, and how many nulls the engine counted."""
    expr = compile_expression(text, SCOPE)
    given = np.empty(len(values), object)
    given[:] = values
    column, lost = evaluate(expr, {"s": Column(given)}, len(values), None, "UTC")
    pairs = zip(column.values.tolist(), column.mask().tolist(), strict=True)
    sql = f"SELECT {to_sql(expr, lambda name: name)} FROM (SELECT unnest(CAST($1 AS VARCHAR[])) AS s)"
    theirs = [row[0] for row in database.execute(sql, [values]).fetchall()]
    return [value if valid else None for value, valid in pairs], theirs, lost


def test_case_and_spaces_of_every_letter(database: duckdb.DuckDBPyConnection) -> None:
    letters = [chr(i) for i in range(1, 0x110000) if not 0xD800 <= i <= 0xDFFF]
    for text in ("lower(s)", "upper(s)", "trim(s)", "ltrim(s)", "rtrim(s)", "length(s)"):
        ours, theirs, _ = both(database, text, letters)
        # Letters that one of the two does not know yet: their Unicode versions differ.
        differ = [(a, b) for a, b in zip(ours, theirs, strict=True) if a != b]
        assert len(differ) < (60 if text in ("lower(s)", "upper(s)") else 1), differ[:10]


@MANY
@given(st.lists(st.text(LETTERS, max_size=8), min_size=1, max_size=20), st.integers(-9, 9), st.integers(0, 9))
def test_substr_and_length(database: duckdb.DuckDBPyConnection, values: list[str], start: int, length: int) -> None:
    for text in (f"substr(s, {start}, {length})", f"substr(s, {start})", "length(s)", "s || 'é' || s", "concat(s, s)"):
        ours, theirs, _ = both(database, text, values)
        assert ours == theirs, text


PATTERNS = st.text(st.sampled_from("ab_%\\.é\n"), max_size=7)


@MANY
@given(st.lists(st.text(st.sampled_from("ab.é\n\\%_"), max_size=10), min_size=1, max_size=20), PATTERNS)
def test_like(database: duckdb.DuckDBPyConnection, values: list[str], pattern: str) -> None:
    ours, theirs, _ = both(database, f"s like '{pattern}'", values)
    assert ours == theirs


def test_like_takes_no_longer_on_a_hostile_text() -> None:
    """Backtracking over ten % would take 10^40 steps."""
    assert not matcher("%a" * 10 + "%b")("a" * 200_000)


NEARLY = st.one_of(
    st.text(st.sampled_from("0123456789+-._eE \t"), max_size=8),
    st.floats().map(repr),
    st.integers().map(str),
    st.sampled_from(["true", "T", "no", "Y", "1", "0", "inf", "NaN", "", "١", "1_000.5", "0x10", " 7 ", "1e400"]),
)


@MANY
@example(["+-0", "+-1_0e1", "+5", "-+5", "++5", "--5", "+-", " +-.5 ", "1e+-5"])
@given(st.lists(NEARLY, min_size=1, max_size=40))
def test_casts_of_texts(database: duckdb.DuckDBPyConnection, values: list[str]) -> None:
    for kind in ("double", "boolean"):
        ours, theirs, lost = both(database, f"cast(s as {kind})", values)
        assert ours == theirs
        assert lost == theirs.count(None)


@MANY
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=40))
def test_casts_of_numbers(database: duckdb.DuckDBPyConnection, values: list[float]) -> None:
    for kind in ("varchar", "integer", "bigint", "boolean"):
        expr = compile_expression(f"cast(x as {kind})", Scope({"x": Type.DOUBLE}, "field", now=False))
        column, _ = evaluate(expr, {"x": Column(np.array(values))}, len(values), None, "UTC")
        pairs = zip(column.values.tolist(), column.mask().tolist(), strict=True)
        sql = f"SELECT {to_sql(expr, lambda name: name)} FROM (SELECT unnest(CAST($1 AS DOUBLE[])) AS x)"
        theirs = [row[0] for row in database.execute(sql, [values]).fetchall()]
        assert [value if valid else None for value, valid in pairs] == theirs
