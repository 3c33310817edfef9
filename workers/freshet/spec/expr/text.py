"""A checked tree as the text that a person would write: for explanations, never to be read back."""

from __future__ import annotations

from freshet.spec.expr.functions import ARITHMETIC, COMPARISONS
from freshet.spec.expr.tree import Call, Expr, Literal, Name


def expression_text(expr: Expr) -> str:
    """The expression as SQL, with only the parentheses that it needs."""
    return _text(expr, 0)


_LEVELS = {"or": 1, "and": 2, "not": 3, "in": 4, "between": 4, "like": 4, "is_null": 4, "||": 5, "+": 6, "-": 6}
_LEVELS |= dict.fromkeys(COMPARISONS, 4) | dict.fromkeys(("*", "/", "%"), 7) | {"neg": 8}


def _text(expr: Expr, outer: int) -> str:
    if isinstance(expr, Literal):
        return _literal(expr.value)
    if isinstance(expr, Name):
        return expr.name
    level = _LEVELS.get(expr.op, 9)
    # Both sides of a comparison, and the right side of a minus, must bind tighter.
    text = _call(expr, level)
    return f"({text})" if level < outer or (level == outer and level in (4, 8)) else text


def _call(call: Call, level: int) -> str:
    op = call.op
    if op in ("and", "or"):
        return f" {op} ".join(_text(arg, level) for arg in call.args)
    if op in COMPARISONS or op in ("||", "like") or (op in ARITHMETIC and op != "pow"):
        return f"{_text(call.args[0], level)} {op} {_text(call.args[1], level + 1)}"
    if op == "not":
        return f"not {_text(call.args[0], level + 1)}"
    if op == "neg":
        return f"-{_text(call.args[0], level)}"
    if op == "is_null":
        return f"{_text(call.args[0], level + 1)} is null"
    if op == "in":
        return f"{_text(call.args[0], level + 1)} in ({', '.join(_text(arg, 0) for arg in call.args[1:])})"
    if op == "between":
        subject, low, high = (_text(arg, level + 1) for arg in call.args)
        return f"{subject} between {low} and {high}"
    return _function(call)


def _function(call: Call) -> str:
    args = [_text(arg, 0) for arg in call.args]
    if call.op in ("case", "switch"):
        head, rest = (f" {args[0]}", args[1:]) if call.op == "switch" else ("", args)
        whens = "".join(f" when {rest[i]} then {rest[i + 1]}" for i in range(0, len(rest) - 1, 2))
        return f"case{head}{whens} else {rest[-1]} end"
    if call.op == "extract":
        return f"extract({call.option} from {args[0]})"
    if call.op == "cast":
        return f"cast({args[0]} as {call.option})"
    if call.op == "date_diff":
        return f"date_diff('{call.option}', {args[0]}, {args[1]})"
    if call.op == "substr" or (call.op == "round" and call.option != "0"):
        return f"{call.op}({args[0]}, {call.option.replace(',', ', ')})"
    return f"{call.op}({', '.join(args)})"


def _literal(value: float | str | bool | None) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
