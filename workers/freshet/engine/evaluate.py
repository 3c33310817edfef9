"""Evaluation of checked expressions over columns: SQL's meaning, numpy's speed.

The meaning is DuckDB's over doubles (`freshet.spec.expr.sql` writes the same tree for it), with one addition: a number
that is not finite is null, and counted. Constants stay 0-dimensional until they meet a column.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from freshet.engine import evaluate_casts as casts
from freshet.engine import evaluate_choice as choice
from freshet.engine import evaluate_texts as texts
from freshet.engine.calendar import difference, part_of
from freshet.engine.column import Bools, Column, Floats
from freshet.engine.evaluate_numbers import ARITHMETIC, FUNCTIONS, rounded
from freshet.engine.evaluate_value import Value, both, comparable, constant
from freshet.spec.expr.functions import ARITHMETIC as ARITHMETIC_OPS
from freshet.spec.expr.functions import COMPARISONS, TEXTUAL
from freshet.spec.expr.tree import Call, Expr, Literal, Name


def evaluate(
    expr: Expr, columns: Mapping[str, Column], size: int, now_ms: Floats | None, timezone: str
) -> tuple[Column, int]:
    """The value of `expr` in each of `size` rows, and how many became null because they were not finite.

    Args:
        expr: the checked tree.
        columns: every column that it reads, `size` long.
        size: number of rows.
        now_ms: what now() gives in each row; None where the expression may not call it.
        timezone: IANA name, for extract().
    """
    run = Run(columns, size, now_ms, timezone)
    return run.column(compiled(expr)), run.nulls


Compiled = Callable[["Run", Bools | None], Value]
"""An expression as a function of a run and of the rows whose value is asked for (None: of all)."""

Args = tuple[Compiled, ...]


class Run:
    """Evaluations over the same columns.

    `rows` of a method are the rows whose value is asked for: only their nulls are counted.
    """

    def __init__(self, columns: Mapping[str, Column], size: int, now_ms: Floats | None, timezone: str) -> None:
        """As for `evaluate`; columns may be added between two evaluations."""
        self.columns = columns
        self.size = size
        self.now_ms = now_ms
        self.timezone = timezone
        self.nulls = 0
        """How many values became null, of all evaluations."""

    def column(self, expression: Compiled) -> Column:
        """The value of an expression in each row."""
        with np.errstate(all="ignore"):
            return expression(self, None).column(self.size)

    def finite(self, values: NDArray[Any], valid: Bools | None, rows: Bools | None) -> Value:
        """The numbers, null where they are not finite."""
        good = np.isfinite(values)
        if np.count_nonzero(good) == good.size:
            return Value(values, valid)
        lost = ~good
        if valid is not None:
            lost &= valid
        # Where the mask is of all rows and the value a constant, the constant is lost in each of them.
        counted = np.broadcast_to(lost if rows is None else lost & rows, (self.size,))
        self.nulls += int(np.count_nonzero(counted))
        return Value(np.where(good, values, 0.0), good if valid is None else valid & good)

    # -- operators -------------------------------------------------------------------------------------------------

    def arithmetic(self, call: Call, args: Args, rows: Bools | None) -> Value:
        left, right = args[0](self, rows), args[1](self, rows)
        return self.finite(ARITHMETIC[call.op](left.values, right.values), both(left.valid, right.valid), rows)

    def function(self, call: Call, args: Args, rows: Bools | None) -> Value:
        arg = args[0](self, rows)
        return self.finite(FUNCTIONS[call.op](arg.values), arg.valid, rows)

    def round(self, call: Call, args: Args, rows: Bools | None) -> Value:
        arg = args[0](self, rows)
        return self.finite(rounded(arg.values, int(call.option or 0)), arg.valid, rows)

    def comparison(self, call: Call, args: Args, rows: Bools | None) -> Value:
        left, right = (arg(self, rows) for arg in args)
        return Value(_compare(call.op, left, right), both(left.valid, right.valid))

    def between(self, call: Call, args: Args, rows: Bools | None) -> Value:
        subject, low, high = (arg(self, rows) for arg in args)
        above = Value(_compare(">=", subject, low), both(subject.valid, low.valid))
        below = Value(_compare("<=", subject, high), both(subject.valid, high.valid))
        return choice.conjunction([above, below])

    def membership(self, call: Call, args: Args, rows: Bools | None) -> Value:
        subject = args[0](self, rows)
        items = [arg(self, rows) for arg in args[1:]]
        return choice.disjunction([Value(_compare("=", subject, i), both(subject.valid, i.valid)) for i in items])

    def conjunction(self, call: Call, args: Args, rows: Bools | None) -> Value:
        return choice.conjunction([arg(self, rows) for arg in args])

    def disjunction(self, call: Call, args: Args, rows: Bools | None) -> Value:
        return choice.disjunction([arg(self, rows) for arg in args])

    def negation(self, call: Call, args: Args, rows: Bools | None) -> Value:
        arg = args[0](self, rows)
        return Value(~arg.values, arg.valid)

    def is_null(self, call: Call, args: Args, rows: Bools | None) -> Value:
        return Value(~args[0](self, rows).mask(), None)

    # -- choice ----------------------------------------------------------------------------------------------------

    def case(self, call: Call, args: Args, rows: Bools | None) -> Value:
        subject = args[0](self, rows) if call.op == "switch" else None
        pairs = args[1:] if subject else args
        waiting = np.ones(self.size, np.bool_) if rows is None else rows
        picked = choice.Picked(self.size, call.type)
        for i in range(0, len(pairs) - 1, 2):
            test = pairs[i](self, waiting)
            if subject:
                test = Value(_compare("=", subject, test), both(subject.valid, test.valid))
            chosen = waiting & test.values & test.mask()
            if chosen.any():
                picked.put(chosen, pairs[i + 1](self, chosen))
                waiting = waiting & ~chosen
            if not waiting.any():
                return picked.value()
        picked.put(waiting, pairs[-1](self, waiting))
        return picked.value()

    def coalesce(self, call: Call, args: Args, rows: Bools | None) -> Value:
        first = args[0](self, rows)
        if first.valid is None:
            return first
        waiting = np.ones(self.size, np.bool_) if rows is None else rows
        picked = choice.Picked(self.size, call.type)
        value: Value | None = first
        for arg in args:
            value = value or arg(self, waiting)
            chosen = waiting & value.mask()
            picked.put(chosen, value)
            waiting = waiting & ~chosen
            value = None
            if not waiting.any():
                break
        return picked.value()

    def nullif(self, call: Call, args: Args, rows: Bools | None) -> Value:
        left, right = (arg(self, rows) for arg in args)
        equal = _compare("=", left, right) & left.mask() & right.mask()
        valid = left.mask() & ~equal
        return Value(left.values if left.values.ndim else np.broadcast_to(left.values, valid.shape), valid)

    def extreme(self, call: Call, args: Args, rows: Bools | None) -> Value:
        return choice.extreme([arg(self, rows) for arg in args], call.op == "least")

    # -- time ------------------------------------------------------------------------------------------------------

    def now(self, call: Call, args: Args, rows: Bools | None) -> Value:
        if self.now_ms is None:
            raise ValueError("now() in an expression that has no read time")
        return Value(self.now_ms, None)

    def extract(self, call: Call, args: Args, rows: Bools | None) -> Value:
        arg = args[0](self, rows)
        return Value(part_of(call.option, arg.values, self.timezone), arg.valid)

    def date_diff(self, call: Call, args: Args, rows: Bools | None) -> Value:
        begin, end = (arg(self, rows) for arg in args)
        values = difference(call.option, begin.values, end.values, self.timezone)
        return Value(values, both(begin.valid, end.valid))

    # -- texts and types -------------------------------------------------------------------------------------------

    def textual(self, call: Call, args: Args, rows: Bools | None) -> Value:
        return texts.apply(call, [arg(self, rows) for arg in args], self.size)

    def cast(self, call: Call, args: Args, rows: Bools | None) -> Value:
        value, lost = casts.cast(call, args[0](self, rows), self.size)
        if lost is not None:
            counted = np.broadcast_to(lost if rows is None else lost & rows, (self.size,))
            self.nulls += int(np.count_nonzero(counted))
        return value


def _compare(op: str, left: Value, right: Value) -> Bools:
    function = _COMPARE[op]
    if left.is_text and op not in ("=", "<>"):
        left, right = comparable(left), comparable(right)
    return np.asarray(function(left.values, right.values), np.bool_)


_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "=": np.equal,
    "<>": np.not_equal,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}

_OPS: dict[str, Callable[[Run, Call, Args, Bools | None], Value]] = {
    **dict.fromkeys(COMPARISONS, Run.comparison),
    **dict.fromkeys(ARITHMETIC_OPS, Run.arithmetic),
    **dict.fromkeys(FUNCTIONS, Run.function),
    **dict.fromkeys(TEXTUAL, Run.textual),
    "date_diff": Run.date_diff,
    "cast": Run.cast,
    "round": Run.round,
    "and": Run.conjunction,
    "or": Run.disjunction,
    "not": Run.negation,
    "is_null": Run.is_null,
    "between": Run.between,
    "in": Run.membership,
    "case": Run.case,
    "switch": Run.case,
    "coalesce": Run.coalesce,
    "nullif": Run.nullif,
    "least": Run.extreme,
    "greatest": Run.extreme,
    "now": Run.now,
    "extract": Run.extract,
}
"""Every op of `freshet.spec.expr.functions`."""


@lru_cache(maxsize=10_000)
def compiled(expr: Expr) -> Compiled:
    """The tree as functions of a run, made once: walking it costs as much as the operators do over a few rows."""
    if isinstance(expr, Name):
        name = expr.name
        return lambda run, rows: Value(run.columns[name].values, run.columns[name].valid)
    if isinstance(expr, Literal):
        value = constant(expr)
        return lambda run, rows: value
    function, args = _OPS[expr.op], tuple(compiled(arg) for arg in expr.args)
    return lambda run, rows: function(run, expr, args, rows)
