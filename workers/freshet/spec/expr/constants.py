"""Constant arithmetic, worked out when a manifest is read: to find divisions by zero before an event does."""

from __future__ import annotations

import math
from collections.abc import Callable

from freshet.spec.expr.functions import ARITHMETIC
from freshet.spec.expr.tree import Call, Expr, Literal

_FUNCTIONS: dict[str, Callable[..., float]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "%": math.fmod,
    "neg": lambda a: -a,
    "abs": abs,
    "ln": math.log,
    "exp": math.exp,
    "pow": math.pow,
    "log10": math.log10,
    "floor": lambda a: float(math.floor(a)),
    "ceil": lambda a: float(math.ceil(a)),
    "sign": lambda a: float((a > 0) - (a < 0)),
    "sqrt": math.sqrt,
}


def constant(expr: Expr) -> float | None:
    """The value of an expression of number constants; None where it reads anything, or has no finite value."""
    if isinstance(expr, Literal):
        return expr.value if isinstance(expr.value, float) else None
    if not isinstance(expr, Call) or expr.op not in _FUNCTIONS:
        return None
    args = [constant(arg) for arg in expr.args]
    if any(arg is None for arg in args):
        return None
    try:
        value = _FUNCTIONS[expr.op](*args)
    except (ArithmeticError, ValueError):
        return None
    return value if math.isfinite(value) else None


def fault(call: Call) -> str | None:
    """What is wrong with a call whatever it reads: a division by zero, or constants that it has no value for."""
    if call.op in ("/", "%") and constant(call.args[1]) == 0:
        return "division by zero"
    if call.op in _FUNCTIONS and all(constant(arg) is not None for arg in call.args) and constant(call) is None:
        what = call.op if call.op in ARITHMETIC and not call.op.isalpha() else f"{call.op}()"
        return f"{what} has no finite value for these constants"
    return None
