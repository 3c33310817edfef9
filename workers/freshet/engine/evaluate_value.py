"""A value during evaluation: a column, or a constant that stays one value until it meets a column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from freshet.engine.column import Bools, Column
from freshet.spec.expr.tree import Literal, Type

DTYPES: dict[Type, Any] = {
    Type.DOUBLE: np.float64,
    Type.INTEGER: np.float64,
    Type.TIMESTAMP: np.float64,
    Type.BOOLEAN: np.bool_,
    Type.TEXT: np.object_,
}
"""How the values of a type are held."""

BLANKS: dict[Type, float | bool | str] = {
    Type.DOUBLE: 0.0,
    Type.INTEGER: 0.0,
    Type.TIMESTAMP: 0.0,
    Type.BOOLEAN: False,
    Type.TEXT: "",
}
"""What stands at a null."""

_TRUE = np.ones((), np.bool_)


@dataclass(slots=True)  # not frozen: that would more than double the time of making one, and operators make many
class Value:
    """`values` where `valid`; both 0-dimensional for a constant. Never changes."""

    values: NDArray[Any]
    valid: Bools | None

    @property
    def is_text(self) -> bool:
        return self.values.dtype == np.object_

    def mask(self) -> Bools:
        """`valid` as an array, 0-dimensional where nothing is null."""
        return _TRUE if self.valid is None else self.valid

    def column(self, size: int) -> Column:
        """The value as a column of `size` rows."""
        values, valid = self.values, self.valid
        if values.ndim == 0:
            values = np.full(size, values[()], values.dtype)
        if valid is not None and valid.ndim == 0:
            valid = np.full(size, valid[()])
        return Column(values, None if valid is None or valid.all() else valid)


def constant(literal: Literal) -> Value:
    """The value of a literal."""
    if literal.value is None:
        return Value(np.array(BLANKS[literal.type], DTYPES[literal.type]), np.zeros((), np.bool_))
    return Value(np.array(literal.value, DTYPES[literal.type]), None)


def both(left: Bools | None, right: Bools | None) -> Bools | None:
    """Where neither is null."""
    if left is None:
        return right
    return left if right is None else left & right


def comparable(value: Value) -> Value:
    """A text value with text at its nulls too, so that it can be put in order."""
    if value.valid is None:
        return value
    values = np.where(value.valid, value.values, "")
    return Value(np.asarray(values, np.object_), value.valid)
