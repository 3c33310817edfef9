"""Checked expression trees over columns: SQL's three-valued logic, DuckDB's results (design §4).

Where DuckDB would raise, or a result is not finite, the value is null and is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from freshet.engine.calendar import part_of
from freshet.engine.column import Bools, Column, Floats
from freshet.spec.expr.tree import Call, Expr, Literal, Name, Type

_Values = NDArray[Any]
_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "=": np.equal,
    "<>": np.not_equal,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}
_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.fmod,
}
_NUMERIC: dict[str, Callable[[Any], Any]] = {
    "neg": np.negative,
    "abs": np.abs,
    "ln": np.log,
    "exp": np.exp,
    "sqrt": np.sqrt,
}
_AT_NULL: dict[Type, Any] = {Type.TEXT: "", Type.BOOLEAN: False}


class _Value:
    """Values and where they are not null; a constant is an array of no dimension, which numpy spreads."""

    __slots__ = ("valid", "values")

    def __init__(self, values: _Values, valid: Bools | None = None) -> None:
        self.values = values
        self.valid = valid

    @property
    def some(self) -> Bools:
        return np.asarray(True) if self.valid is None else self.valid


def evaluate(
    expr: Expr, columns: Mapping[str, Column], size: int, now_ms: Floats | None, timezone: str
) -> tuple[Column, int]:
    """The value of `expr` for each of `size` rows, and how many values became null as SQL would have raised.

    `now_ms` is the read time of each row (None where `now()` cannot occur); `timezone` is an IANA name for extract().
    """
    walk = _Walk(columns, now_ms, timezone)
    with np.errstate(all="ignore"):
        value = walk.value(expr)
    values = np.array(np.broadcast_to(value.values, (size,)))
    valid = None if value.valid is None else np.array(np.broadcast_to(value.valid, (size,)))
    if expr.type.is_number and valid is not None:
        values[~valid] = 0.0
    return Column(values, valid), walk.lost


class _Walk:
    """One evaluation."""

    def __init__(self, columns: Mapping[str, Column], now_ms: Floats | None, timezone: str) -> None:
        self.columns = columns
        self.now_ms = now_ms
        self.timezone = timezone
        self.lost = 0

    def value(self, expr: Expr) -> _Value:
        if isinstance(expr, Literal):
            return _constant(expr)
        if isinstance(expr, Name):
            column = self.columns[expr.name]
            return _Value(column.values, column.valid)
        args = [self.value(arg) for arg in expr.args]
        if expr.op in _COMPARISONS:
            return _compare(expr.op, args[0], args[1])
        if expr.op in _ARITHMETIC:
            return self._finite(_ARITHMETIC[expr.op](args[0].values, args[1].values), args)
        if expr.op in _NUMERIC:
            return self._finite(_NUMERIC[expr.op](args[0].values), args)
        return self._other(expr, args)

    def _finite(self, values: _Values, args: Sequence[_Value]) -> _Value:
        given = _all(args)
        finite = np.isfinite(values)
        if finite.all():
            return _Value(values, given)
        some = finite if given is None else finite & given
        self.lost += int(np.count_nonzero(~finite if given is None else given & ~finite))
        return _Value(np.where(finite, values, 0.0), some)

    def _other(self, call: Call, args: list[_Value]) -> _Value:
        if call.op == "round":
            return self._finite(_round(args[0].values, int(call.option or 0)), args)
        if call.op == "now":
            if self.now_ms is None:
                raise ValueError("now() has no value here")
            return _Value(self.now_ms)
        if call.op == "extract":
            values = np.asarray(args[0].values, np.float64)
            return _Value(part_of(call.option, values, self.timezone), args[0].valid)
        return _OTHER[call.op](args)


def _constant(literal: Literal) -> _Value:
    if literal.value is None:
        return _Value(np.asarray(_AT_NULL.get(literal.type, 0.0)), np.asarray(False))
    if literal.type is Type.TEXT:
        out = np.empty((), object)
        out[()] = literal.value
        return _Value(out)
    return _Value(np.asarray(literal.value if literal.type is Type.BOOLEAN else float(literal.value)))


def _all(args: Sequence[_Value]) -> Bools | None:
    """Where all arguments are not null."""
    valid: Bools | None = None
    for arg in args:
        if arg.valid is not None:
            valid = arg.valid if valid is None else valid & arg.valid
    return valid


def _compare(op: str, left: _Value, right: _Value) -> _Value:
    return _Value(np.asarray(_COMPARISONS[op](left.values, right.values), np.bool_), _all((left, right)))


def _and(args: Sequence[_Value]) -> _Value:
    """False if any is false, else null if any is null."""
    out = args[0]
    for arg in args[1:]:
        if out.valid is None and arg.valid is None:
            out = _Value(out.values & arg.values)
            continue
        false = (out.some & ~out.values) | (arg.some & ~arg.values)
        out = _Value(out.values & arg.values & ~false, (out.some & arg.some) | false)
    return out


def _not(args: Sequence[_Value]) -> _Value:
    return _Value(~args[0].values, args[0].valid)


def _or(args: Sequence[_Value]) -> _Value:
    return _not([_and([_not([arg]) for arg in args])])


def _in(args: Sequence[_Value]) -> _Value:
    """True if some item equals the subject, else null if any of them is null."""
    return _or([_compare("=", args[0], item) for item in args[1:]])


def _between(args: Sequence[_Value]) -> _Value:
    return _and([_compare(">=", args[0], args[1]), _compare("<=", args[0], args[2])])


def _is_null(args: Sequence[_Value]) -> _Value:
    return _Value(~np.broadcast_to(args[0].some, np.shape(args[0].values)))


def _choose(condition: _Value, then: _Value, otherwise: _Value) -> _Value:
    true = condition.some & condition.values
    valid = None
    if then.valid is not None or otherwise.valid is not None:
        valid = np.where(true, then.some, otherwise.some)
    return _Value(np.where(true, then.values, otherwise.values), valid)


def _case(args: Sequence[_Value]) -> _Value:
    out = args[-1]
    for i in range(len(args) - 3, -1, -2):
        out = _choose(args[i], args[i + 1], out)
    return out


def _switch(args: Sequence[_Value]) -> _Value:
    subject, rest = args[0], list(args[1:])
    for i in range(0, len(rest) - 1, 2):
        rest[i] = _compare("=", subject, rest[i])
    return _case(rest)


def _coalesce(args: Sequence[_Value]) -> _Value:
    out = args[-1]
    for arg in reversed(args[:-1]):
        out = _choose(_Value(arg.some), arg, out)
    return out


def _nullif(args: Sequence[_Value]) -> _Value:
    same = _compare("=", args[0], args[1])
    return _Value(args[0].values, args[0].some & ~(same.some & same.values))


def _extreme(op: str) -> Callable[[Sequence[_Value]], _Value]:
    def extreme(args: Sequence[_Value]) -> _Value:
        out = args[0]
        for arg in args[1:]:
            better = _compare(op, arg, out)
            take = arg.some & (~out.some | better.values)
            valid = None if out.valid is None and arg.valid is None else out.some | arg.some
            out = _Value(np.where(take, arg.values, out.values), valid)
        return out

    return extreme


def _round(values: _Values, digits: int) -> _Values:
    """Half away from zero at a decimal place, as DuckDB computes it; a value too large to be scaled stays."""
    scale = 10.0 ** abs(digits)
    scaled = values * scale if digits >= 0 else values / scale
    size = np.abs(scaled)
    whole = np.floor(size)
    whole = np.copysign(whole + (size - whole >= 0.5), scaled)
    rounded = whole / scale if digits >= 0 else whole * scale
    return np.where(np.isfinite(rounded), rounded, values)


_OTHER: dict[str, Callable[[Sequence[_Value]], _Value]] = {
    "and": _and,
    "or": _or,
    "not": _not,
    "in": _in,
    "between": _between,
    "is_null": _is_null,
    "case": _case,
    "switch": _switch,
    "coalesce": _coalesce,
    "nullif": _nullif,
    "least": _extreme("<"),
    "greatest": _extreme(">"),
}
