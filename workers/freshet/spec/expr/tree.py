"""The checked expression tree: what a manifest's SQL text means after parsing and type checking.

The tree is the only thing that is ever evaluated; the user's text is not. Every node knows its type.
`freshet.engine.evaluate` computes it over numpy columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Type(StrEnum):
    """Type of a value. INTEGER is a DOUBLE that is whole and is written without a decimal point."""

    DOUBLE = "double"
    INTEGER = "integer"
    TEXT = "text"
    BOOLEAN = "boolean"
    TIMESTAMP = "timestamp"
    LIST = "list"
    """Several values of one type: what a feature may give, but no expression reads."""

    @property
    def is_number(self) -> bool:
        return self in (Type.DOUBLE, Type.INTEGER)


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant: a double, a text, a boolean, or None (SQL null)."""

    value: float | str | bool | None
    type: Type


@dataclass(frozen=True, slots=True)
class Name:
    """A column: an event field, a feature, the entity's key, `first_seen` or `last_seen`."""

    name: str
    type: Type


@dataclass(frozen=True, slots=True)
class Call:
    """An operator or function applied to arguments.

    `op` is one of the names in `freshet.spec.expr.functions`; `case` has the arguments
    condition, value, condition, value, …, else.
    """

    op: str
    args: tuple[Expr, ...]
    type: Type
    option: str = ""
    """A constant that chooses a variant, as the part of `extract`."""


Expr = Literal | Name | Call


def names(expr: Expr) -> Iterator[str]:
    """Every column that the expression reads, in order of appearance, repeats included."""
    if isinstance(expr, Name):
        yield expr.name
    elif isinstance(expr, Call):
        for arg in expr.args:
            yield from names(arg)


def calls(expr: Expr, op: str) -> bool:
    """Whether the expression applies `op` anywhere."""
    return isinstance(expr, Call) and (expr.op == op or any(calls(arg, op) for arg in expr.args))
