"""Columns of a DuckDB table as the engine's columns, and one expression computed by both."""

from __future__ import annotations

import math
import random
from typing import Any

import duckdb
import numpy as np

from freshet.engine.column import Column
from freshet.engine.evaluate import evaluate
from freshet.spec.expr.check import compile_expression
from freshet.spec.expr.scope import Scope
from freshet.spec.expr.sql import to_sql
from freshet.spec.expr.tree import Expr, Type

TYPES: dict[str, Type] = {
    "a": Type.DOUBLE,
    "b": Type.DOUBLE,
    "n": Type.INTEGER,
    "s": Type.TEXT,
    "u": Type.TEXT,
    "p": Type.BOOLEAN,
    "q": Type.BOOLEAN,
    "t": Type.TIMESTAMP,
    "z": Type.TIMESTAMP,
}
SCOPE = Scope(TYPES, "feature", now=True)
SQL_TYPES = {Type.DOUBLE: "DOUBLE", Type.INTEGER: "DOUBLE", Type.TEXT: "VARCHAR", Type.BOOLEAN: "BOOLEAN"}

NUMBERS = (
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    -0.5,
    2.5,
    -2.5,
    3.0,
    1e-9,
    0.49999999999999994,
    1234.5,
    1e12,
    -1e12,
    1e300,
    1e-300,
)
TEXTS = ("", "a", "b", "B", "ab", "é", "z", "日本", "😀", "\uffff", "it's", " ")
LAST_MS = 4_102_444_799_999
"""The end of 2099."""


def random_value(kind: Type, rng: random.Random) -> Any:
    """A value of the type, often null or on an edge."""
    if rng.random() < 0.2:
        return None
    if kind is Type.BOOLEAN:
        return rng.random() < 0.5
    if kind is Type.TEXT:
        return rng.choice(TEXTS)
    if kind is Type.TIMESTAMP:
        year_end = 946_684_800_000 + rng.randrange(40) * 31_557_600_000
        return rng.choice((rng.randrange(LAST_MS), year_end + rng.randrange(-4, 4) * 43_200_000, 0))
    if kind is Type.INTEGER:
        return float(rng.randrange(-3, 8))
    return rng.choice((rng.choice(NUMBERS), rng.uniform(-10, 10), round(rng.uniform(-1000, 1000), 2)))


class Table:
    """Random rows, in DuckDB and as columns."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, rows: int, seed: int) -> None:
        rng = random.Random(seed)
        self.connection = connection
        self.rows = rows
        self.data = {name: [random_value(kind, rng) for _ in range(rows)] for name, kind in TYPES.items()}
        self.now = [rng.randrange(LAST_MS) for _ in range(rows)]
        columns = [f"unnest(CAST($now AS BIGINT[])) AS now_ms, unnest(range({rows})) AS i"]
        for name, kind in TYPES.items():
            source = "BIGINT" if kind is Type.TIMESTAMP else SQL_TYPES[kind]
            columns.append(f"unnest(CAST(${name} AS {source}[])) AS {name}")
        times = ", ".join(f"make_timestamp_ms({name}) AS {name}" for name in ("t", "z"))
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE rows AS SELECT * REPLACE ({times}), make_timestamp_ms(now_ms) AS now_at"
            f" FROM (SELECT {', '.join(columns)})",
            {**self.data, "now": self.now},
        )
        self.columns = {name: as_column(kind, self.data[name]) for name, kind in TYPES.items()}

    def engine(self, expr: Expr, timezone: str = "UTC") -> tuple[list[Any], int]:
        """What the engine says, None for null, and its count of nulls."""
        column, lost = evaluate(expr, self.columns, self.rows, np.array(self.now, np.float64), timezone)
        assert len(column.values) == self.rows
        if expr.type.is_number:
            assert np.isfinite(column.values).all()
        valid = column.mask()
        values = column.values.tolist()
        return [value if good else None for value, good in zip(values, valid.tolist(), strict=True)], lost

    def sql(self, sql: str) -> list[Any]:
        """What DuckDB says."""
        return [row[0] for row in self.connection.execute(f"SELECT ({sql}) FROM rows ORDER BY i").fetchall()]

    def oracle(self, expr: Expr, timezone: str = "UTC") -> list[Any]:
        """What DuckDB says of the tree."""
        sql = to_sql(expr, lambda name: f'"{name}"', now="now_at", timezone=timezone)
        return self.sql(f"CAST(epoch_ms({sql}) AS DOUBLE)" if expr.type is Type.TIMESTAMP else sql)


def as_column(kind: Type, values: list[Any]) -> Column:
    """Python values as a column; odd but allowed values stand at the nulls."""
    valid = np.array([value is not None for value in values], np.bool_)
    if kind is Type.TEXT:
        texts = np.empty(len(values), object)
        texts[:] = values
        return Column(texts, valid)
    blank = False if kind is Type.BOOLEAN else 7.0
    dtype = np.bool_ if kind is Type.BOOLEAN else np.float64
    return Column(np.array([blank if value is None else value for value in values], dtype), valid)


def compiled(text: str) -> Expr:
    """The checked tree of a text over the table's columns."""
    return compile_expression(text, SCOPE)


def same(left: Any, right: Any, relative: float = 0.0) -> bool:
    """Whether two values are equal, numbers within a relative tolerance."""
    if isinstance(left, float) and isinstance(right, float) and relative:
        return math.isclose(left, right, rel_tol=relative, abs_tol=1e-300)
    return type(left) is type(right) and bool(left == right)
