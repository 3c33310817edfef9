"""Casts between types, as DuckDB makes them. What it would raise on is null."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from freshet.engine.column import Bools
from freshet.engine.evaluate_value import BLANKS, DTYPES, Value
from freshet.spec.expr.tree import Call, Type

# DuckDB takes one plus before any number, one with a minus too.
_NUMBER = re.compile(
    r"[ \t\n\v\f\r]*(\+?-|\+)?(\d+(_\d+)*\.?(\d+(_\d+)*)?|\.\d+(_\d+)*)([eE][+-]?\d+(_\d+)*)?[ \t\n\v\f\r]*", re.ASCII
)
_TRUTHS = {"true": True, "t": True, "yes": True, "y": True, "1": True} | {
    "false": False, "f": False, "no": False, "n": False, "0": False
}  # fmt: skip
_RANGES = {"integer": (-(2.0**31), 2.0**31 - 1), "bigint": (-(2.0**63), 2.0**63 - 1024)}
"""Whole doubles of 32 and 64 bits."""


def cast(call: Call, arg: Value, size: int) -> tuple[Value, Bools | None]:
    """The value as another type, and where it became null by that."""
    given, kind = call.args[0].type, call.type
    if given is Type.TEXT:
        return _of_texts(arg, kind)
    if kind is Type.TEXT:
        return _to_texts(arg, given)
    if kind is Type.BOOLEAN:
        return Value(np.asarray(arg.values != 0), arg.valid), None
    values = np.asarray(arg.values, np.float64)
    if kind is not Type.INTEGER:
        return Value(values, arg.valid), None
    low, high = _RANGES[call.option]
    rounded = np.rint(values)
    return _without(Value(rounded, arg.valid), np.asarray((rounded < low) | (rounded > high)))


def _of_texts(arg: Value, kind: Type) -> tuple[Value, Bools | None]:
    valid = np.broadcast_to(arg.mask(), arg.values.shape)
    out = np.full(arg.values.shape, BLANKS[kind], DTYPES[kind])
    lost = np.zeros(arg.values.shape, np.bool_)
    read = _number if kind is Type.DOUBLE else _truth
    found = [read(text) for text in arg.values[valid].tolist()]
    out[valid] = [BLANKS[kind] if value is None else value for value in found]
    lost[valid] = [value is None for value in found]
    return _without(Value(out, arg.valid), lost)


def _number(text: str) -> float | None:
    if not _NUMBER.fullmatch(text):
        return None
    value = float(text.replace("_", "").replace("+-", "-"))
    return value if np.isfinite(value) else None


def _truth(text: str) -> bool | None:
    return _TRUTHS.get(text.lower()) if text.isascii() else None


def _to_texts(arg: Value, given: Type) -> tuple[Value, Bools | None]:
    out = np.empty(arg.values.shape, np.object_)
    lost = None
    if given is Type.INTEGER:
        low, high = _RANGES["bigint"]
        lost = np.asarray((arg.values < low) | (arg.values > high))
    flat: list[Any] = arg.values.reshape(-1).tolist()
    write = {Type.BOOLEAN: _flag, Type.INTEGER: _whole}.get(given, repr)
    texts = np.empty(len(flat), np.object_)
    texts[:] = [write(value) for value in flat]
    out[...] = texts.reshape(arg.values.shape)
    value = Value(out, arg.valid)
    return (value, None) if lost is None else _without(value, lost)


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _whole(value: float) -> str:
    return str(int(value))


def _without(value: Value, lost: Bools) -> tuple[Value, Bools | None]:
    """The value, null where it is lost."""
    lost = np.asarray(lost & value.mask())
    if not lost.any():
        return value, None
    blank: Any = "" if value.is_text else 0
    kept = np.asarray(np.where(lost, blank, value.values), value.values.dtype)
    return Value(kept, np.asarray(~lost & value.mask())), lost
