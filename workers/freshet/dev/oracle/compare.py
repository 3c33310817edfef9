"""Whether the engine's values are SQL's, within the tolerances of design §5.

- Counts, picks, times, sessions, texts and truth values: equal.
- Sums, means, variances, slopes and ewma: as near as `Values.slack` says (1e-9 of the magnitudes that went in);
  stddev by its square, since a root near 0 has no digits of its own.
- Expressions are compared with what SQL makes of the *engine's own* values of what they read. Those are compared
  above, so nothing is lost, and a difference of 1e-12 in a sum cannot turn into another branch of a `case` or another
  side of `round` and be called an error. What is left between the two is the last digit of ln and exp, which a
  subtraction can magnify: 1e-9 relative, or 1e-9 of the largest number that the expression reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from freshet.dev.oracle.run import Oracle, Reads, Values
from freshet.engine.column import Bools, Column, Floats, Ints
from freshet.spec.definition import Aggregate, AggregateFeature, Definition, ExpressionFeature
from freshet.spec.expr.tree import Call, Expr, Literal, Type, calls, names

EXPRESSION_RELATIVE = 1e-9

Plain = float | bool | str | None


@dataclass(frozen=True, slots=True)
class Difference:
    """One value on which the two do not agree."""

    read: int
    entity: str
    feature: str
    q_ms: int
    bounds: tuple[int | None, int]
    """Event times that the value is of: from (None: the first event) until before."""
    engine: Plain
    sql: Plain
    slack: float

    def __str__(self) -> str:
        start = "its first event" if self.bounds[0] is None else _time(self.bounds[0])
        return (
            f"read {self.read} of {self.entity!r}: {self.feature} at q = {_time(self.q_ms)}, events from {start}"
            f" until before {_time(self.bounds[1])}\n    engine {self.engine!r}\n    SQL    {self.sql!r}"
            f"  (± {self.slack:g})"
        )


def differences(oracle: Oracle, reads: Reads, expected: Values, got: Mapping[str, Column], q: Ints) -> list[Difference]:
    """All values of `got`, the engine's columns at read times `q`, that are not what SQL says."""
    definition = oracle.definition
    out = []
    wrong_q = np.flatnonzero(q != expected.q_ms)
    for i in wrong_q.tolist():
        bounds = (None, int(expected.q_ms[i]))
        out.append(Difference(i, reads.keys[i], "read time", bounds[1], bounds, int(q[i]), bounds[1], 0.0))
    computed = oracle.expressions(reads.keys, expected, got)
    for feature in definition.features:
        if isinstance(feature, AggregateFeature):
            sql, slack = expected.columns[feature.name], expected.slack[feature.name]
        else:
            sql, slack = computed[feature.name], _expression_slack(feature, got, computed[feature.name])
        engine = got[feature.name]
        if isinstance(feature, AggregateFeature) and feature.aggregate is Aggregate.STDDEV:
            good = agree(_squared(engine), _squared(sql), slack)
        else:
            good = agree(engine, sql, slack)
        for i in np.flatnonzero(~good).tolist():
            at = int(expected.q_ms[i])
            out.append(
                Difference(
                    i, reads.keys[i], feature.name, at, bounds_of(definition, feature.name, at), plain(engine, i),
                    plain(sql, i), float(slack[i]),
                )
            )  # fmt: skip
    return out


def agree(engine: Column, sql: Column, slack: Floats) -> Bools:
    """Where two columns are null together, or values no further apart than `slack`."""
    both = engine.mask() & sql.mask()
    same: Bools = engine.mask() == sql.mask()
    if engine.values.dtype == object or engine.values.dtype == np.bool_:
        equal: Bools = engine.values == sql.values
    else:
        left, right = (np.where(both, c.values.astype(np.float64), 0.0) for c in (engine, sql))
        equal = np.abs(left - right) <= slack
    out: Bools = same & (~both | equal)
    return out


def bounds_of(definition: Definition, name: str, q: int) -> tuple[int | None, int]:
    """Event times that a feature sees at read time q."""
    feature = definition.feature(name)
    if isinstance(feature, AggregateFeature) and feature.window:
        return (q - feature.window.length_ms) // feature.window.hop_ms * feature.window.hop_ms, q
    return None, q


def plain(column: Column, i: int) -> Plain:
    """One value, None for null."""
    value: Plain = column.values[i : i + 1].tolist()[0] if column.mask()[i] else None
    return value


def report(found: Sequence[Difference], most: int = 20) -> str:
    """The differences for a person to read."""
    more = f"\n… and {len(found) - most} more" if len(found) > most else ""
    return f"{len(found)} values differ from SQL\n" + "\n".join(map(str, found[:most])) + more


def _squared(column: Column) -> Column:
    return Column(column.values.astype(np.float64) ** 2, column.valid)


def _expression_slack(feature: ExpressionFeature, got: Mapping[str, Column], sql: Column) -> Floats:
    size = len(sql.values)
    if not feature.type.is_number:
        return np.zeros(size)
    largest = np.full(size, max(_literals(feature.expr), default=0.0))
    for name in names(feature.expr):
        if name in got and got[name].values.dtype == np.float64:
            largest = np.maximum(largest, np.where(got[name].mask(), np.abs(got[name].values), 0.0))
    inexact = any(calls(feature.expr, op) for op in ("ln", "log10", "exp", "pow", "+", "-", "*", "/", "%", "round"))
    values = np.where(sql.mask(), np.abs(sql.values.astype(np.float64)), 0.0)
    return EXPRESSION_RELATIVE * np.maximum(largest, values) if inexact else np.zeros(size)


def _literals(expr: Expr) -> Iterator[float]:
    if isinstance(expr, Literal) and expr.type is Type.DOUBLE and isinstance(expr.value, float):
        yield abs(expr.value)
    elif isinstance(expr, Call):
        for arg in expr.args:
            yield from _literals(arg)


def _time(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z"
