"""Arithmetic and functions of one number, as DuckDB computes them over doubles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from freshet.engine.column import Floats

ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.fmod,  # the dividend's sign, unlike numpy's %
    "pow": np.power,
}

FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "neg": np.negative,
    "abs": np.abs,
    "ln": np.log,
    "exp": np.exp,
    "sqrt": np.sqrt,
    "log10": np.log10,
    "floor": np.floor,
    "ceil": np.ceil,
    "sign": np.sign,
}


def rounded(values: Floats, digits: int) -> Floats:
    """Half away from zero, to `digits` after the point; negative digits are before it."""
    if digits == 0:
        return _half_away(values)
    scale = 10.0 ** abs(digits)
    if digits < 0:
        return _half_away(values / scale) * scale
    scaled = _half_away(values * scale) / scale
    # A number so large that scaling it overflows has no digits to round.
    return np.where(np.isfinite(scaled), scaled, values)


def _half_away(values: Floats) -> Floats:
    """C's round(): exact, where adding a half would carry 0.49999999999999994 over to 1."""
    whole = np.trunc(values)
    return np.where(np.abs(values - whole) >= 0.5, whole + np.sign(values), whole)
