"""Three-valued logic, and values that are picked from others."""

from __future__ import annotations

import numpy as np

from freshet.engine.column import Bools
from freshet.engine.evaluate_value import BLANKS, DTYPES, Value, comparable
from freshet.spec.expr.tree import Type


def conjunction(parts: list[Value]) -> Value:
    """SQL's and: false if any is false, else null if any is null."""
    result = parts[0]
    for part in parts[1:]:
        values = result.values & part.values
        if result.valid is None and part.valid is None:
            result = Value(np.asarray(values), None)
            continue
        left, right = result.mask(), part.mask()
        known = (left & right) | (left & ~result.values) | (right & ~part.values)
        result = Value(np.asarray(values & known), np.asarray(known))
    return result


def disjunction(parts: list[Value]) -> Value:
    """SQL's or: true if any is true, else null if any is null."""
    result = parts[0]
    for part in parts[1:]:
        if result.valid is None and part.valid is None:
            result = Value(np.asarray(result.values | part.values), None)
            continue
        left, right = result.mask(), part.mask()
        true = (left & result.values) | (right & part.values)
        result = Value(np.asarray(true), np.asarray((left & right) | true))
    return result


def extreme(parts: list[Value], least: bool) -> Value:
    """The least or greatest of those that are not null; null if all are."""
    result = parts[0]
    for part in parts[1:]:
        left, right = (comparable(result), comparable(part)) if result.is_text else (result, part)
        nearer = right.values < left.values if least else right.values > left.values
        if left.valid is None and right.valid is None:
            result = Value(np.asarray(np.where(nearer, right.values, left.values), left.values.dtype), None)
            continue
        take = right.mask() & (~left.mask() | nearer)
        values = np.asarray(np.where(take, right.values, left.values), left.values.dtype)
        result = Value(values, np.asarray(left.mask() | right.mask()))
    return result


class Picked:
    """A column that is put together from rows of other values."""

    def __init__(self, size: int, kind: Type) -> None:
        self._values = np.full(size, BLANKS[kind], DTYPES[kind])
        self._valid = np.zeros(size, np.bool_)

    def put(self, rows: Bools, value: Value) -> None:
        """Takes `rows` from `value`."""
        chosen = rows if value.valid is None else rows & value.valid
        values = value.values if value.values.ndim == 0 else value.values[chosen]
        self._values[chosen] = values
        self._valid[chosen] = True

    def value(self) -> Value:
        """What was put."""
        return Value(self._values, self._valid)
