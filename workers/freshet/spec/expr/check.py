"""From sqlglot's syntax to the checked tree: only what is listed here exists, all else is an error with a hint.

Numbers are doubles. INTEGER is kept where every branch is whole, because it decides how a result is written.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from sqlglot import exp

from freshet.spec.expr.check_functions import MORE_RULES
from freshet.spec.expr.constants import constant, fault
from freshet.spec.expr.functions import MOST_DIGITS, PARTS
from freshet.spec.expr.parse import ExpressionError, columns, parse_sql, position
from freshet.spec.expr.refusals import functions_hint, plain, unknown
from freshet.spec.expr.scope import Scope
from freshet.spec.expr.tree import Call, Expr, Literal, Name, Type
from freshet.spec.problems import any_of, did_you_mean, quoted

MOST_NODES = 400
"""Operators, names and constants of one expression."""

_COMPARISONS: dict[type[exp.Expr], str] = {
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
}
_ARITHMETIC: dict[type[exp.Expr], str] = {exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/", exp.Mod: "%"}
_FUNCTIONS: dict[type[exp.Expr], str] = {
    exp.Ln: "ln",
    exp.Exp: "exp",
    exp.Sqrt: "sqrt",
    exp.Abs: "abs",
    exp.Floor: "floor",
    exp.Ceil: "ceil",
    exp.Sign: "sign",
}
_UNGROUPED = (*_COMPARISONS, exp.Between, exp.In, exp.Is, exp.Like, exp.Not)
"""What must stand in parentheses inside a comparison: SQL systems group `a = b < c` differently."""

KINDS = {
    Type.DOUBLE: "a number",
    Type.INTEGER: "a number",
    Type.TEXT: "text",
    Type.BOOLEAN: "true or false",
    Type.TIMESTAMP: "a timestamp",
    Type.LIST: "a list",
}
"""How messages name the types."""


class BrokenName(Exception):
    """The expression reads a name whose own definition has a problem; nothing more can be said of it."""


def compile_expression(text: str, scope: Scope) -> Expr:
    """The checked tree of `text`. Raises ExpressionError, or BrokenName where a problem was told elsewhere."""
    return check(parse_sql(text), scope)


def check(syntax: exp.Expr, scope: Scope) -> Expr:
    """The checked tree of a parsed expression. Raises ExpressionError or BrokenName."""
    checker = _Checker(scope)
    try:
        expr = checker.check(syntax)
    except BrokenName:
        for name in columns(syntax):
            checker.exists(name)
        raise
    if is_null(expr):
        raise ExpressionError("is always null")
    return expr


def is_null(expr: Expr) -> bool:
    """Whether the expression is the constant null, which has every type."""
    return isinstance(expr, Literal) and expr.value is None


class _Checker:
    """One walk over a syntax tree."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.nodes = 0

    def check(self, node: exp.Expr) -> Expr:
        self.nodes += 1
        if self.nodes > MOST_NODES:
            raise ExpressionError(f"has more than {MOST_NODES} operators, names and constants")
        rule = _RULES.get(type(node))
        if rule is None:
            raise ExpressionError(unknown(node))
        return rule(self, node)

    # -- arguments -------------------------------------------------------------------------------------------------

    def number(self, node: exp.Expr, what: str) -> Expr:
        return self.typed(node, what, Type.DOUBLE, "a number")

    def truth(self, node: exp.Expr, what: str) -> Expr:
        return self.typed(node, what, Type.BOOLEAN, "true or false")

    def typed(self, node: exp.Expr, what: str, wanted: Type, kind: str) -> Expr:
        expr = self.check(node)
        if is_null(expr):
            return Literal(None, wanted)
        if expr.type is wanted or (wanted is Type.DOUBLE and expr.type.is_number):
            return expr
        hint = ""
        if wanted is Type.DOUBLE and expr.type is Type.TIMESTAMP:
            hint = "; take its seconds with extract(epoch from …)"
        raise ExpressionError(f"{what} needs {kind}, not {_described(node, expr)}{position(node)}{hint}")

    def alike(self, nodes: Iterable[exp.Expr], what: str) -> tuple[tuple[Expr, ...], Type]:
        """Arguments of one common type, and that type. Raises ExpressionError where there is none."""
        given = list(nodes)
        exprs = [self.check(node) for node in given]
        known = [(node, expr) for node, expr in zip(given, exprs, strict=True) if not is_null(expr)]
        if not known:
            raise ExpressionError(f"{what} has only null{position(given[0])}")
        first_node, first = known[0]
        for node, expr in known[1:]:
            if _family(expr) is not _family(first):
                raise ExpressionError(
                    f"{what} needs values of one type, but {_described(first_node, first)} and"
                    f" {_described(node, expr)} differ{position(node)}"
                )
        common = _common([expr for _, expr in known])
        return tuple(Literal(None, common) if is_null(expr) else expr for expr in exprs), common

    def ungrouped(self, *nodes: exp.Expr) -> None:
        for node in nodes:
            if isinstance(node, _UNGROUPED):
                raise ExpressionError(f"put the comparison inside another one into parentheses{position(node)}")

    # -- leaves ----------------------------------------------------------------------------------------------------

    def paren(self, node: exp.Paren) -> Expr:
        return self.check(node.this)

    def column(self, node: exp.Column) -> Expr:
        plain(node, "this")
        if not isinstance(node.this, exp.Identifier):
            raise ExpressionError(unknown(node))
        found = self.scope.names.get(node.name)
        if found is None:
            self.exists(node.name)
            raise BrokenName(node.name)
        if found is Type.LIST:
            raise ExpressionError(f"{node.name} is a list, which expressions cannot read{position(node)}")
        return Name(node.name, found)

    def exists(self, name: str) -> None:
        """Refuses a name that nothing has."""
        scope = self.scope
        if name in scope.names or scope.is_broken(name):
            return
        if name in scope.elsewhere:
            raise ExpressionError(scope.elsewhere[name])
        near = did_you_mean(name, scope.names)
        if near or not scope.names:
            raise ExpressionError(f"unknown {scope.noun} {quoted(name)}{near}")
        known = list(scope.names)
        more = f" and {len(known) - 8} more" if len(known) > 8 else ""
        raise ExpressionError(f"unknown {scope.noun} {quoted(name)}; there are {', '.join(known[:8])}{more}")

    def literal(self, node: exp.Literal) -> Expr:
        if node.is_string:
            return Literal(str(node.this), Type.TEXT)
        try:
            value = float(str(node.this))
        except ValueError:
            raise ExpressionError(f"{quoted(str(node.this))} is not a number{position(node)}") from None
        if not math.isfinite(value):
            raise ExpressionError(f"{quoted(str(node.this))} is beyond what a double holds{position(node)}")
        return Literal(value, Type.DOUBLE)

    def boolean(self, node: exp.Boolean) -> Expr:
        return Literal(bool(node.this), Type.BOOLEAN)

    def null(self, node: exp.Null) -> Expr:
        return Literal(None, Type.DOUBLE)

    def anonymous(self, node: exp.Anonymous) -> Expr:
        name = str(node.this)
        if name.lower() != "now":
            raise ExpressionError(f"there is no function {quoted(name)}{position(node)}{functions_hint(name)}")
        if node.expressions:
            raise ExpressionError(f"now() takes no argument{position(node)}")
        if not self.scope.now:
            raise ExpressionError("now() has no meaning here: an event is looked at once, not at read time")
        return Call("now", (), Type.TIMESTAMP)

    # -- operators -------------------------------------------------------------------------------------------------

    def comparison(self, node: exp.Binary) -> Expr:
        op = _COMPARISONS[type(node)]
        plain(node, "this", "expression")
        self.ungrouped(node.left, node.right)
        for side in (node.left, node.right):
            if isinstance(side.unnest(), exp.Null):
                raise ExpressionError(f"{op} null is never true; write `is null` or `is not null`{position(node)}")
        args, kind = self.alike((node.left, node.right), op)
        if kind is Type.BOOLEAN and op not in ("=", "<>"):
            raise ExpressionError(f"true and false have no order, {op} cannot compare them{position(node)}")
        return Call(op, args, Type.BOOLEAN)

    def arithmetic(self, node: exp.Binary) -> Expr:
        op = _ARITHMETIC[type(node)]
        plain(node, "this", "expression", "typed", "safe")
        args = (self.number(node.left, op), self.number(node.right, op))
        return self.computed(Call(op, args, Type.DOUBLE), node)

    def computed(self, call: Call, node: exp.Expr) -> Expr:
        """The call, unless its arguments are constants that it has no value for."""
        wrong = fault(call)
        if wrong:
            raise ExpressionError(f"{wrong}{position(node)}")
        return call

    def connective(self, node: exp.Connector) -> Expr:
        op = "and" if isinstance(node, exp.And) else "or"
        plain(node, "this", "expression")
        args: list[Expr] = []
        for side in (node.left, node.right):
            expr = self.truth(side, op)
            args.extend(expr.args if isinstance(expr, Call) and expr.op == op else (expr,))
        return Call(op, tuple(args), Type.BOOLEAN)

    def negation(self, node: exp.Not) -> Expr:
        return Call("not", (self.truth(node.this, "not"),), Type.BOOLEAN)

    def minus(self, node: exp.Neg) -> Expr:
        arg = self.number(node.this, "-")
        if isinstance(arg, Literal) and isinstance(arg.value, float):
            return Literal(0.0 - arg.value, Type.DOUBLE)  # -0 is 0: SQL reads a number, and has no sign for nothing
        return Call("neg", (arg,), Type.DOUBLE)

    def between(self, node: exp.Between) -> Expr:
        plain(node, "this", "low", "high")
        parts = (node.this, node.args["low"], node.args["high"])
        self.ungrouped(*parts)
        args, kind = self.alike(parts, "between")
        if kind is Type.BOOLEAN:
            raise ExpressionError(f"true and false have no order, between cannot compare them{position(node)}")
        return Call("between", args, Type.BOOLEAN)

    def membership(self, node: exp.In) -> Expr:
        if not node.expressions or any(value for key, value in node.args.items() if key not in ("this", "expressions")):
            raise ExpressionError(f"in needs a list of values in parentheses, like in ('a', 'b'){position(node)}")
        self.ungrouped(node.this)
        args, _ = self.alike((node.this, *node.expressions), "in")
        return Call("in", args, Type.BOOLEAN)

    def is_test(self, node: exp.Is) -> Expr:
        if not isinstance(node.expression, exp.Null):
            raise ExpressionError(f"is can only ask for null{position(node)}; for a truth value write the value itself")
        arg = self.check(node.this)
        return Call("is_null", (arg,), Type.BOOLEAN)

    # -- functions -------------------------------------------------------------------------------------------------

    def case(self, node: exp.Case) -> Expr:
        plain(node, "this", "ifs", "default")
        ifs = node.args["ifs"]
        otherwise = node.args.get("default") or exp.Null()
        values, kind = self.alike((*(one.args["true"] for one in ifs), otherwise), "case")
        flat: list[Expr] = []
        if node.this is None:
            tests: Iterable[Expr] = [self.truth(one.this, "when") for one in ifs]
        else:
            subject, *tests = self.alike((node.this, *(one.this for one in ifs)), "case … when")[0]
            flat.append(subject)
        for test, value in zip(tests, values[:-1], strict=True):
            flat += (test, value)
        return Call("case" if node.this is None else "switch", (*flat, values[-1]), kind)

    def coalesce(self, node: exp.Coalesce) -> Expr:
        plain(node, "this", "expressions")
        args, kind = self.alike((node.this, *node.expressions), "coalesce")
        return Call("coalesce", args, kind)

    def nullif(self, node: exp.Nullif) -> Expr:
        plain(node, "this", "expression")
        args, _ = self.alike((node.this, node.expression), "nullif")
        if is_null(args[0]):
            raise ExpressionError(f"nullif of null is always null{position(node)}")
        return Call("nullif", args, args[0].type)

    def extreme(self, node: exp.Least | exp.Greatest) -> Expr:
        op = "least" if isinstance(node, exp.Least) else "greatest"
        plain(node, "this", "expressions", "ignore_nulls")
        args, kind = self.alike((node.this, *node.expressions), op)
        if kind is Type.BOOLEAN:
            raise ExpressionError(f"true and false have no order, {op} cannot compare them{position(node)}")
        return Call(op, args, kind)

    def function(self, node: exp.Func) -> Expr:
        op = _FUNCTIONS[type(node)]
        plain(node, "this")
        kind = Type.INTEGER if op == "sign" else Type.DOUBLE
        return self.computed(Call(op, (self.number(node.this, op),), kind), node)

    def round(self, node: exp.Round) -> Expr:
        plain(node, "this", "decimals")
        arg = self.number(node.this, "round")
        digits = 0.0
        if node.args.get("decimals") is not None:
            given = constant(self.number(node.args["decimals"], "round"))
            if given is None or given % 1 or abs(given) > MOST_DIGITS:
                raise ExpressionError(
                    f"the digits of round must be a whole number from -{MOST_DIGITS} to {MOST_DIGITS}{position(node)}"
                )
            digits = given
        return Call("round", (arg,), Type.DOUBLE, str(int(digits)))

    def extract(self, node: exp.Extract) -> Expr:
        part = str(node.this.name if isinstance(node.this, (exp.Var, exp.Literal)) else node.this).lower()
        if part not in PARTS:
            raise ExpressionError(
                f"extract cannot give {quoted(part)}{position(node)}"
                f"{did_you_mean(part, PARTS) or f'; it gives {any_of(PARTS)}'}"
            )
        arg = self.typed(node.expression, "extract", Type.TIMESTAMP, "a timestamp")
        return Call("extract", (arg,), Type.DOUBLE if part == "epoch" else Type.INTEGER, part)


def _rules() -> dict[type[exp.Expr], Callable[[_Checker, exp.Expr], Expr]]:
    rules: dict[type[exp.Expr], Callable[..., Expr]] = {
        exp.Paren: _Checker.paren,
        exp.Column: _Checker.column,
        exp.Literal: _Checker.literal,
        exp.Boolean: _Checker.boolean,
        exp.Null: _Checker.null,
        exp.Anonymous: _Checker.anonymous,
        exp.And: _Checker.connective,
        exp.Or: _Checker.connective,
        exp.Not: _Checker.negation,
        exp.Neg: _Checker.minus,
        exp.Between: _Checker.between,
        exp.In: _Checker.membership,
        exp.Is: _Checker.is_test,
        exp.Case: _Checker.case,
        exp.Coalesce: _Checker.coalesce,
        exp.Nullif: _Checker.nullif,
        exp.Least: _Checker.extreme,
        exp.Greatest: _Checker.extreme,
        exp.Round: _Checker.round,
        exp.Extract: _Checker.extract,
    }
    rules.update(dict.fromkeys(_COMPARISONS, _Checker.comparison))
    rules.update(dict.fromkeys(_ARITHMETIC, _Checker.arithmetic))
    rules.update(dict.fromkeys(_FUNCTIONS, _Checker.function))
    rules.update(MORE_RULES)
    return rules


_RULES = _rules()


def _family(expr: Expr) -> Type:
    return Type.DOUBLE if expr.type.is_number else expr.type


def _common(exprs: list[Expr]) -> Type:
    """The type of a choice: INTEGER if every branch is, whole constants counting as either."""
    kinds = {
        expr.type for expr in exprs if not (isinstance(expr, Literal) and expr.type is Type.DOUBLE and _whole(expr))
    }
    if kinds == {Type.INTEGER}:
        return Type.INTEGER
    return _family(exprs[0])


def _whole(literal: Literal) -> bool:
    return isinstance(literal.value, float) and literal.value.is_integer()


def _described(node: exp.Expr, expr: Expr) -> str:
    if isinstance(expr, Name):
        return f"{expr.name} ({KINDS[expr.type]})"
    if isinstance(expr, Literal) and isinstance(expr.value, str):
        return f"the text {quoted(expr.value)}"
    if isinstance(expr, Call) and expr.op == "now":
        return "now() (a timestamp)"
    if isinstance(expr, Literal):
        return f"{node.sql()} ({KINDS[expr.type]})"
    return KINDS[expr.type]
