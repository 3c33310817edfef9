"""Runs the oracle's query: a log and reads in, values out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from freshet.dev.oracle.log import Log
from freshet.dev.oracle.sql import Query, default_sql, expressions_sql, field_column, value_column
from freshet.engine.column import Column, Floats, Ints
from freshet.spec.definition import AggregateFeature, Definition, ExpressionFeature
from freshet.spec.expr.tree import Type


@dataclass(frozen=True, slots=True)
class Reads:
    """What to read: entity `keys[i]` at time `now_ms[i]`, when all records below offset `upto[i]` were taken in."""

    keys: list[str]
    upto: Ints
    now_ms: Ints

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True, slots=True)
class Values:
    """What SQL says of each read. `newest_ms` and `first_ms` are -1 for an entity without events."""

    q_ms: Ints
    first_ms: Ints
    newest_ms: Ints
    columns: dict[str, Column]
    """Served values of every feature; timestamps as float64 ms since 1970."""
    slack: dict[str, Floats]
    """Of aggregates: how far another value may lie away; 0 for exact ones, of the square for stddev."""


def open_database() -> duckdb.DuckDBPyConnection:
    """An empty database. One thread: the tables are small, and so sums are always taken in the same order."""
    return duckdb.connect(config={"threads": 1})


class Oracle:
    """The oracle of one definition. Close it after use."""

    def __init__(self, definition: Definition, database: duckdb.DuckDBPyConnection | None = None) -> None:
        """`database`: one to work in, from `open_database`, which many oracles may share; None: one of its own."""
        self.definition = definition
        self._query = Query(definition).text()
        self._chained = expressions_sql(definition, f"({_base_sql(definition)})", given=False)
        self._given = expressions_sql(definition, f"({_base_sql(definition, given=True)})", given=True)
        # A cursor has temporary tables of its own, and to open one is far cheaper than to open a database.
        self._database = database.cursor() if database else open_database()

    def close(self) -> None:
        """Frees the tables."""
        self._database.close()

    def __enter__(self) -> Oracle:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def values(self, log: Log, reads: Reads) -> Values:
        """The value of every feature at every read."""
        self._load(log, reads)
        got = self._fetch(self._query)
        q, first, newest = (_whole(got[name]) for name in ("q", "first", "newest"))
        features = self.definition.features
        slack, raw = {}, {}
        for n, feature in enumerate(features):
            if isinstance(feature, AggregateFeature):
                slack[feature.name] = np.ma.filled(got[f"e{n}"].astype(np.float64), 0.0)
                if feature.type is not Type.LIST:
                    raw[f"v{n}"] = got[f"v{n}"]
        self._database.register("values_of", {"i": np.arange(len(reads)), "key": _texts(reads.keys), **raw})
        self._register_times(q, first, newest)
        served = self._fetch(self._chained)
        columns = {
            f.name: lists(got[f"v{n}"])
            if f.type is Type.LIST
            else _column(served[value_column(f.name).strip('"')], f.type)
            for n, f in enumerate(features)
        }
        return Values(q, first, newest, columns, slack)

    def expressions(self, keys: Sequence[str], values: Values, served: Mapping[str, Column]) -> dict[str, Column]:
        """What SQL says of each expression when the values that it reads are `served`.

        `values` gives the read times and first and last events, which the served columns do not.
        """
        wanted = [f for f in self.definition.features if isinstance(f, ExpressionFeature)]
        if not wanted:
            return {}
        table: dict[str, NDArray[Any]] = {"i": np.arange(len(keys)), "key": _texts(keys)}
        features = enumerate(self.definition.features)
        table |= {f"v{n}": _masked(served[f.name]) for n, f in features if f.type is not Type.LIST}
        self._database.register("values_of", table)
        self._register_times(values.q_ms, values.first_ms, values.newest_ms)
        got = self._fetch(self._given)
        return {f.name: _column(got[value_column(f.name).strip('"')], f.type) for f in wanted}

    def _load(self, log: Log, reads: Reads) -> None:
        numbers = {key: k for k, key in enumerate(dict.fromkeys([*reads.keys, *log.keys]))}
        at = np.flatnonzero(log.accepted(self.definition))
        every = np.array([numbers[key] for key in log.keys], np.int64)
        raw: dict[str, Any] = {"k": every[at], "o": log.offset[at], "t": log.clamped()[at]}
        fields = []
        for field in self.definition.fields:
            column = log.fields[field.name]
            raw[f"f:{field.name}"] = _masked(Column(column.values[at], column.mask()[at]))
            fields.append(f"CAST({field_column(field.name)} AS {_SQL[field.type]}) AS {field_column(field.name)}")
        self._database.register("raw", raw)
        self._database.execute(
            f"CREATE OR REPLACE TEMP TABLE log AS SELECT {', '.join(['k', 'o', 't', *fields])} FROM raw"
        )
        gone = np.flatnonzero(log.erase)
        self._database.register("erasures", {"k": every[gone], "o": log.offset[gone]})
        self._database.register(
            "wanted",
            {
                "i": np.arange(len(reads)),
                "k": np.array([numbers[key] for key in reads.keys], np.int64),
                "upto": reads.upto,
                "now": reads.now_ms,
            },
        )
        self._database.execute(
            "CREATE OR REPLACE TEMP TABLE reads AS SELECT i, k, upto, now, coalesce((SELECT max(o) FROM erasures"
            " WHERE erasures.k = wanted.k AND o < upto), -1) AS since FROM wanted"
        )

    def _register_times(self, q: Ints, first: Ints, newest: Ints) -> None:
        times = {"i": np.arange(len(q)), "q_ms": q, "first_ms": first, "newest_ms": newest}
        self._database.register("times", times)

    def _fetch(self, query: str) -> dict[str, NDArray[Any]]:
        got: dict[str, NDArray[Any]] = self._database.execute(query).fetchnumpy()
        return got


_SQL = {
    Type.DOUBLE: "DOUBLE",
    Type.INTEGER: "DOUBLE",
    Type.TEXT: "VARCHAR",
    Type.BOOLEAN: "BOOLEAN",
    Type.TIMESTAMP: "TIMESTAMP",
}


def _base_sql(definition: Definition, *, given: bool = False) -> str:
    """What expressions read: aggregates with their defaults, or every feature as served if `given`; key and times."""
    columns = [
        "i",
        "make_timestamp_ms(q_ms) AS q",
        f"key AS {value_column(definition.key)}",
        f"CASE WHEN first_ms >= 0 THEN make_timestamp_ms(first_ms) END AS {value_column('first_seen')}",
        f"CASE WHEN newest_ms >= 0 THEN make_timestamp_ms(newest_ms) END AS {value_column('last_seen')}",
    ]
    for n, feature in enumerate(definition.features):
        if feature.type is Type.LIST:
            continue
        if feature.type is Type.TIMESTAMP:
            value = f"make_timestamp_ms(CAST(v{n} AS BIGINT))"
        else:
            value = f"CAST(v{n} AS {_SQL[feature.type]})"
        if given:
            columns.append(f"{value} AS {value_column(feature.name)}")
        elif isinstance(feature, AggregateFeature):
            columns.append(f"{default_sql(value, feature)} AS {value_column(feature.name)}")
    return f"SELECT {', '.join(columns)} FROM values_of JOIN times USING (i)"


def _texts(texts: Sequence[str]) -> NDArray[Any]:
    out = np.empty(len(texts), object)
    out[:] = texts
    return out


def lists(values: NDArray[Any]) -> Column:
    """A column of lists as DuckDB gives it."""
    valid = ~np.ma.getmaskarray(values)
    out = np.empty(len(values), object)
    for i, value in enumerate(np.ma.getdata(values)):
        valid[i] &= value is not None
        out[i] = list(np.asarray(value, object)) if valid[i] else []
        out[i] = [one.item() if isinstance(one, np.generic) else one for one in out[i]]
    return Column(out, valid)


def _masked(column: Column) -> NDArray[Any]:
    """A column as DuckDB reads nulls from numpy: a masked array, or objects with None."""
    if column.values.dtype == object:
        out = column.values.copy()
        out[~column.mask()] = None
        return out
    return np.ma.array(column.values, mask=~column.mask())


def _whole(values: NDArray[Any]) -> Ints:
    out: Ints = np.ma.filled(values, -1).astype(np.int64)
    return out


def _column(values: NDArray[Any], kind: Type) -> Column:
    data, valid = np.ma.getdata(values), ~np.ma.getmaskarray(values)
    if kind is Type.TIMESTAMP:
        data = data.astype("datetime64[ms]").astype(np.int64).astype(np.float64)
    elif kind.is_number:
        data = data.astype(np.float64)
    data = data.copy()
    data[~valid] = {Type.TEXT: "", Type.BOOLEAN: False}.get(kind, 0.0)
    return Column(data, valid)
