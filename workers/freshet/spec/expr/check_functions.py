"""Types of the functions of text and time, and of casts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from sqlglot import exp

from freshet.spec.expr.constants import constant
from freshet.spec.expr.functions import DIFFERENCES
from freshet.spec.expr.parse import ExpressionError, position
from freshet.spec.expr.refusals import plain, unknown
from freshet.spec.expr.tree import Call, Expr, Literal, Type
from freshet.spec.problems import any_of, did_you_mean, quoted

MOST_CHARACTERS = 10_000
"""Of substr()."""

_TEXT = "text"


class Checker(Protocol):
    """What of the walk over the syntax tree these rules use."""

    def check(self, node: exp.Expr) -> Expr: ...
    def number(self, node: exp.Expr, what: str) -> Expr: ...
    def truth(self, node: exp.Expr, what: str) -> Expr: ...
    def typed(self, node: exp.Expr, what: str, wanted: Type, kind: str) -> Expr: ...
    def computed(self, call: Call, node: exp.Expr) -> Expr: ...
    def alike(self, nodes: Iterable[exp.Expr], what: str) -> tuple[tuple[Expr, ...], Type]: ...
    def ungrouped(self, *nodes: exp.Expr) -> None: ...


def power(checker: Checker, node: exp.Pow) -> Expr:
    plain(node, "this", "expression")
    args = (checker.number(node.this, "pow"), checker.number(node.expression, "pow"))
    return checker.computed(Call("pow", args, Type.DOUBLE), node)


def logarithm(checker: Checker, node: exp.Log) -> Expr:
    """log10(x) comes from the parser as log(10, x)."""
    plain(node, "this", "expression")
    base = node.this if node.expression is not None and node.args.get("expression") else None
    if not isinstance(base, exp.Literal) or base.is_string or str(base.this) != "10":
        raise ExpressionError(unknown(node))
    return checker.computed(Call("log10", (checker.number(node.expression, "log10"),), Type.DOUBLE), node)


def cased(checker: Checker, node: exp.Lower | exp.Upper) -> Expr:
    op = "lower" if isinstance(node, exp.Lower) else "upper"
    plain(node, "this")
    return Call(op, (_text(checker, node.this, op),), Type.TEXT)


def trim(checker: Checker, node: exp.Trim) -> Expr:
    if node.args.get("expression") is not None:
        raise ExpressionError(f"trim takes one text, and removes spaces{position(node)}")
    plain(node, "this", "position")
    op = {"LEADING": "ltrim", "TRAILING": "rtrim"}.get(str(node.args.get("position") or ""), "trim")
    return Call(op, (_text(checker, node.this, op),), Type.TEXT)


def length(checker: Checker, node: exp.Length) -> Expr:
    plain(node, "this")
    return Call("length", (_text(checker, node.this, "length"),), Type.INTEGER)


def substr(checker: Checker, node: exp.Substring) -> Expr:
    plain(node, "this", "start", "length")
    subject = _text(checker, node.this, "substr")
    parts = []
    for name, least in (("start", -MOST_CHARACTERS), ("length", 0)):
        given = node.args.get(name)
        if given is None:
            continue
        value = constant(checker.number(given, "substr"))
        if value is None or value % 1 or not least <= value <= MOST_CHARACTERS:
            raise ExpressionError(
                f"the {name} of substr must be a whole number from {least} to {MOST_CHARACTERS}{position(node)}"
            )
        parts.append(str(int(value)))
    if node.args.get("start") is None:
        raise ExpressionError(f"substr needs a start, like substr(x, 1, 3){position(node)}")
    return Call("substr", (subject,), Type.TEXT, ",".join(parts))


def concat(checker: Checker, node: exp.Concat) -> Expr:
    plain(node, "expressions", "safe", "coalesce")
    args = tuple(_text(checker, one, "concat") for one in node.expressions)
    return Call("concat", args, Type.TEXT)


def joined(checker: Checker, node: exp.DPipe) -> Expr:
    plain(node, "this", "expression", "safe")
    return Call("||", (_text(checker, node.this, "||"), _text(checker, node.expression, "||")), Type.TEXT)


def like(checker: Checker, node: exp.Like) -> Expr:
    plain(node, "this", "expression", "negate")
    checker.ungrouped(node.this)
    subject = _text(checker, node.this, "like")
    pattern = checker.check(node.expression)
    if not isinstance(pattern, Literal) or not isinstance(pattern.value, str):
        raise ExpressionError(f"like needs a constant pattern, like 'a%'{position(node)}")
    found = Call("like", (subject, pattern), Type.BOOLEAN)
    return Call("not", (found,), Type.BOOLEAN) if node.args.get("negate") else found


def date_diff(checker: Checker, node: exp.DateDiff) -> Expr:
    plain(node, "this", "expression", "unit", "date_part_boundary")
    part = str(getattr(node.args.get("unit"), "name", "") or "").lower()
    if part not in DIFFERENCES:
        hint = did_you_mean(part, DIFFERENCES) or f"; it counts {any_of(DIFFERENCES)}"
        raise ExpressionError(f"date_diff cannot count {quoted(part)}{position(node)}{hint}")
    # The parser turns the two round.
    args = tuple(checker.typed(one, "date_diff", Type.TIMESTAMP, "a timestamp") for one in (node.expression, node.this))
    return Call("date_diff", args, Type.INTEGER, part)


def epoch(checker: Checker, node: exp.TimeToUnix) -> Expr:
    plain(node, "this")
    return Call("extract", (checker.typed(node.this, "epoch", Type.TIMESTAMP, "a timestamp"),), Type.DOUBLE, "epoch")


def choice(checker: Checker, node: exp.If) -> Expr:
    """if(condition, value, other) is a case."""
    plain(node, "this", "true", "false")
    otherwise = node.args.get("false") or exp.Null()
    values, kind = checker.alike((node.args["true"], otherwise), "if")
    return Call("case", (checker.truth(node.this, "if"), *values), kind)


_CASTS = {
    exp.DataType.Type.DOUBLE: ("double", Type.DOUBLE),
    exp.DataType.Type.INT: ("integer", Type.INTEGER),
    exp.DataType.Type.BIGINT: ("bigint", Type.INTEGER),
    exp.DataType.Type.TEXT: ("varchar", Type.TEXT),
    exp.DataType.Type.VARCHAR: ("varchar", Type.TEXT),
    exp.DataType.Type.BOOLEAN: ("boolean", Type.BOOLEAN),
}


def cast(checker: Checker, node: exp.Cast) -> Expr:
    plain(node, "this", "to", "safe")
    to = node.args["to"]
    wanted = _CASTS.get(to.this) if isinstance(to, exp.DataType) else None
    if wanted is None or to.expressions:
        raise ExpressionError(
            f"cast cannot give {quoted(to.sql('duckdb').lower())}{position(node)}; it gives double, integer, bigint,"
            " varchar and boolean"
        )
    option, kind = wanted
    arg = checker.check(node.this)
    if isinstance(arg, Literal) and arg.value is None:
        return Literal(None, kind)
    if arg.type is Type.TIMESTAMP:
        raise ExpressionError(f"a timestamp cannot be cast{position(node)}; take its parts with extract(… from …)")
    if arg.type is Type.TEXT and kind is Type.INTEGER:
        raise ExpressionError(f"text cannot be cast to {option}{position(node)}; write round(cast(… as double))")
    if arg.type is kind and kind is not Type.INTEGER:
        return arg
    return Call("cast", (arg,), kind, option)


def _text(checker: Checker, node: exp.Expr, what: str) -> Expr:
    return checker.typed(node, what, Type.TEXT, _TEXT)


MORE_RULES: dict[type[exp.Expr], Callable[[Any, Any], Expr]] = {
    exp.Pow: power,
    exp.Log: logarithm,
    exp.Lower: cased,
    exp.Upper: cased,
    exp.Trim: trim,
    exp.Length: length,
    exp.Substring: substr,
    exp.Concat: concat,
    exp.DPipe: joined,
    exp.Like: like,
    exp.DateDiff: date_diff,
    exp.TimeToUnix: epoch,
    exp.If: choice,
    exp.Cast: cast,
    exp.TryCast: cast,
}
