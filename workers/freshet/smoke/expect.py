"""What features must be for known events, worked out apart from the engine that serves them."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from freshet.smoke.events import Event, Value
from freshet.spec.definition import Aggregate, AggregateFeature
from freshet.spec.expr.tree import Call, Expr, Literal, Name


class CannotTell(Exception):
    """This value is not worked out here."""


def expected(feature: AggregateFeature, events: Sequence[Event], span: tuple[float, float], q_ms: int) -> Value:
    """The value at read time q over the events with span[0] <= t < span[1], in the order of their times.

    Raises CannotTell for aggregates and expressions that are not worked out here.
    """
    where, of = feature.input.where, feature.input.of
    kept = [e for e in events if span[0] <= e.t_ms < span[1] and (where is None or value_of(where, e.values) is True)]
    pairs = [(e.t_ms, 1.0 if of is None else value_of(of, e.values)) for e in kept]
    times = [t for t, value in pairs if value is not None]
    values = [value for _, value in pairs if value is not None]
    if feature.aggregate in _OF_ANY:
        found = _OF_ANY[feature.aggregate](values)
    elif feature.aggregate in (Aggregate.PERCENTILE, Aggregate.LAST_N):
        raise CannotTell(feature.aggregate.value)
    else:
        found = _value(feature, times, [float(value) for value in values], q_ms)
    return feature.default if found is None else found


def _value(feature: AggregateFeature, times: Sequence[int], numbers: Sequence[float], q_ms: int) -> Value:
    kind = feature.aggregate
    if kind is Aggregate.COUNT:
        return float(len(numbers))
    if kind is Aggregate.SUM:
        return math.fsum(numbers)
    if kind is Aggregate.RATE and feature.window is not None:
        return len(numbers) / (feature.window.length_ms / feature.unit_ms)
    if kind in _OF_SOME:
        return _OF_SOME[kind](numbers) if numbers else None
    if kind in _OF_TWO:
        return _OF_TWO[kind](numbers) if len(numbers) > 1 else None
    if kind is Aggregate.TIME_SINCE_FIRST:
        return (q_ms - times[0]) / feature.unit_ms if times else None
    if kind is Aggregate.TIME_SINCE_LAST:
        return (q_ms - times[-1]) / feature.unit_ms if times else None
    return _of_sessions(feature, times, q_ms)


def _mode(values: Sequence[Value]) -> Value:
    """The most frequent of at most 64 different values, of several the smallest."""
    many = Counter(values)
    most = max(many.values(), default=0)
    best = [value for value, count in many.items() if count == most]
    return min(best, key=lambda value: str(value).encode() if isinstance(value, str) else value, default=None)  # type: ignore[arg-type,return-value]


_OF_ANY: dict[Aggregate, Callable[[Sequence[Value]], Value]] = {
    Aggregate.FIRST: lambda values: values[0] if values else None,
    Aggregate.LAST: lambda values: values[-1] if values else None,
    Aggregate.DISTINCT: lambda values: float(len(set(values))),
    Aggregate.MODE: _mode,
}
"""Of values of any type; a smoke test sends fewer than 64 events."""
_OF_SOME: dict[Aggregate, Callable[[Sequence[float]], float]] = {
    Aggregate.MEAN: statistics.fmean,
    Aggregate.MIN: min,
    Aggregate.MAX: max,
}
_OF_TWO: dict[Aggregate, Callable[[Sequence[float]], float]] = {
    Aggregate.VARIANCE: statistics.variance,
    Aggregate.STDDEV: statistics.stdev,
}


def _of_sessions(feature: AggregateFeature, times: Sequence[int], q_ms: int) -> Value:
    starts = [t for i, t in enumerate(times) if i == 0 or t >= times[i - 1] + feature.gap_ms]
    if feature.aggregate is Aggregate.SESSION_COUNT:
        return float(len(starts))
    if feature.aggregate is Aggregate.SESSION_ACTIVE:
        return bool(times) and q_ms < times[-1] + feature.gap_ms
    if feature.aggregate is Aggregate.SESSION_DURATION:
        return (times[-1] - starts[-1]) / feature.unit_ms if times else None
    raise CannotTell(feature.aggregate.value)


def value_of(expr: Expr, row: Mapping[str, Value]) -> Value:
    """An expression over one event, with SQL's three-valued logic. Raises CannotTell."""
    if isinstance(expr, Literal):
        return expr.value
    if isinstance(expr, Name):
        if expr.name not in row:
            raise CannotTell(expr.name)
        return row[expr.name]
    return _call(expr, row)


def _call(expr: Call, row: Mapping[str, Value]) -> Value:
    given = [value_of(arg, row) for arg in expr.args]
    if expr.op in ("and", "or"):
        decisive = expr.op == "or"
        if decisive in given:
            return decisive
        return None if None in given else not decisive
    if expr.op == "is_null":
        return given[0] is None
    if expr.op == "coalesce":
        return next((value for value in given if value is not None), None)
    if expr.op == "in" and given[0] is not None:
        return True if given[0] in given[1:] else None if None in given else False
    if expr.op not in _PLAIN:
        raise CannotTell(expr.op)
    return None if None in given else _PLAIN[expr.op](*given)


_PLAIN: dict[str, Callable[..., Value]] = {
    "=": lambda a, b: a == b,
    "<>": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "in": lambda *given: None,  # the subject is null
    "between": lambda a, low, high: low <= a <= high,
    "not": lambda a: not a,
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "neg": lambda a: -a,
    "abs": abs,
}
"""Null if an argument is."""


def same(served: object, wanted: Value) -> bool:
    """Whether a served JSON value is this one, up to rounding of doubles."""
    if isinstance(wanted, bool) or wanted is None or isinstance(wanted, str):
        return served is wanted or (isinstance(wanted, str) and served == wanted)
    if isinstance(served, bool) or not isinstance(served, int | float):
        return False
    return math.isclose(served, wanted, rel_tol=1e-6, abs_tol=1e-6)
