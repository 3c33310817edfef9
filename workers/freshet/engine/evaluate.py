"""Evaluation of checked expressions over columns: SQL's meaning, numpy's speed.

The meaning is DuckDB's over doubles (`freshet.spec.expr.sql` writes the same tree for it), with one addition: a number
that is not finite is null, and counted. Constants stay 0-dimensional until they meet a column.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    run = _Run(columns, size, now_ms, timezone)
    with np.errstate(all="ignore"):
        value = run.value(expr, None)
    return value.column(size), run.nulls


class _Run:
    """One evaluation. `rows` of a method are the rows whose value is asked for: only their nulls are counted."""

    def __init__(self, columns: Mapping[str, Column], size: int, now_ms: Floats | None, timezone: str) -> None:
        self.columns = columns
        self.size = size
        self.now_ms = now_ms
        self.timezone = timezone
        self.nulls = 0

    def value(self, expr: Expr, rows: Bools | None) -> Value:
        if isinstance(expr, Name):
            column = self.columns[expr.name]
            return Value(column.values, column.valid)
        if isinstance(expr, Literal):
            return constant(expr)
        return _OPS[expr.op](self, expr, rows)

    def finite(self, values: NDArray[Any], valid: Bools | None, rows: Bools | None) -> Value:
        """The numbers, null where they are not finite."""
        good = np.isfinite(values)
        if good.all():
            return Value(values, valid)
        lost = ~good
        if valid is not None:
            lost &= valid
        # Where the mask is of all rows and the value a constant, the constant is lost in each of them.
        counted = np.broadcast_to(lost if rows is None else lost & rows, (self.size,))
        self.nulls += int(np.count_nonzero(counted))
        return Value(np.where(good, values, 0.0), good if valid is None else valid & good)

    # -- operators -------------------------------------------------------------------------------------------------

    def arithmetic(self, call: Call, rows: Bools | None) -> Value:
        left, right = self.value(call.args[0], rows), self.value(call.args[1], rows)
        return self.finite(ARITHMETIC[call.op](left.values, right.values), both(left.valid, right.valid), rows)

    def function(self, call: Call, rows: Bools | None) -> Value:
        arg = self.value(call.args[0], rows)
        return self.finite(FUNCTIONS[call.op](arg.values), arg.valid, rows)

    def round(self, call: Call, rows: Bools | None) -> Value:
        arg = self.value(call.args[0], rows)
        return self.finite(rounded(arg.values, int(call.option or 0)), arg.valid, rows)

    def comparison(self, call: Call, rows: Bools | None) -> Value:
        left, right = (self.value(arg, rows) for arg in call.args)
        return Value(_compare(call.op, left, right), both(left.valid, right.valid))

    def between(self, call: Call, rows: Bools | None) -> Value:
        subject, low, high = (self.value(arg, rows) for arg in call.args)
        above = Value(_compare(">=", subject, low), both(subject.valid, low.valid))
        below = Value(_compare("<=", subject, high), both(subject.valid, high.valid))
        return choice.conjunction([above, below])

    def membership(self, call: Call, rows: Bools | None) -> Value:
        subject = self.value(call.args[0], rows)
        items = [self.value(arg, rows) for arg in call.args[1:]]
        return choice.disjunction([Value(_compare("=", subject, i), both(subject.valid, i.valid)) for i in items])

    def conjunction(self, call: Call, rows: Bools | None) -> Value:
        return choice.conjunction([self.value(arg, rows) for arg in call.args])

    def disjunction(self, call: Call, rows: Bools | None) -> Value:
        return choice.disjunction([self.value(arg, rows) for arg in call.args])

    def negation(self, call: Call, rows: Bools | None) -> Value:
        arg = self.value(call.args[0], rows)
        return Value(~arg.values, arg.valid)

    def is_null(self, call: Call, rows: Bools | None) -> Value:
        return Value(~self.value(call.args[0], rows).mask(), None)

    # -- choice ----------------------------------------------------------------------------------------------------

    def case(self, call: Call, rows: Bools | None) -> Value:
        subject = self.value(call.args[0], rows) if call.op == "switch" else None
        pairs = call.args[1:] if subject else call.args
        waiting = np.ones(self.size, np.bool_) if rows is None else rows
        picked = choice.Picked(self.size, call.type)
        for i in range(0, len(pairs) - 1, 2):
            test = self.value(pairs[i], waiting)
            if subject:
                test = Value(_compare("=", subject, test), both(subject.valid, test.valid))
            chosen = waiting & test.values & test.mask()
            if chosen.any():
                picked.put(chosen, self.value(pairs[i + 1], chosen))
                waiting = waiting & ~chosen
            if not waiting.any():
                return picked.value()
        picked.put(waiting, self.value(pairs[-1], waiting))
        return picked.value()

    def coalesce(self, call: Call, rows: Bools | None) -> Value:
        first = self.value(call.args[0], rows)
        if first.valid is None:
            return first
        waiting = np.ones(self.size, np.bool_) if rows is None else rows
        picked = choice.Picked(self.size, call.type)
        value: Value | None = first
        for arg in call.args:
            value = value or self.value(arg, waiting)
            chosen = waiting & value.mask()
            picked.put(chosen, value)
            waiting = waiting & ~chosen
            value = None
            if not waiting.any():
                break
        return picked.value()

    def nullif(self, call: Call, rows: Bools | None) -> Value:
        left, right = (self.value(arg, rows) for arg in call.args)
        equal = _compare("=", left, right) & left.mask() & right.mask()
        valid = left.mask() & ~equal
        return Value(left.values if left.values.ndim else np.broadcast_to(left.values, valid.shape), valid)

    def extreme(self, call: Call, rows: Bools | None) -> Value:
        return choice.extreme([self.value(arg, rows) for arg in call.args], call.op == "least")

    # -- time ------------------------------------------------------------------------------------------------------

    def now(self, call: Call, rows: Bools | None) -> Value:
        if self.now_ms is None:
            raise ValueError("now() in an expression that has no read time")
        return Value(self.now_ms, None)

    def extract(self, call: Call, rows: Bools | None) -> Value:
        arg = self.value(call.args[0], rows)
        return Value(part_of(call.option, arg.values, self.timezone), arg.valid)

    def date_diff(self, call: Call, rows: Bools | None) -> Value:
        begin, end = (self.value(arg, rows) for arg in call.args)
        values = difference(call.option, begin.values, end.values, self.timezone)
        return Value(values, both(begin.valid, end.valid))

    # -- texts and types -------------------------------------------------------------------------------------------

    def textual(self, call: Call, rows: Bools | None) -> Value:
        return texts.apply(call, [self.value(arg, rows) for arg in call.args], self.size)

    def cast(self, call: Call, rows: Bools | None) -> Value:
        value, lost = casts.cast(call, self.value(call.args[0], rows), self.size)
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

_OPS: dict[str, Callable[[_Run, Call, Bools | None], Value]] = {
    **dict.fromkeys(COMPARISONS, _Run.comparison),
    **dict.fromkeys(ARITHMETIC_OPS, _Run.arithmetic),
    **dict.fromkeys(FUNCTIONS, _Run.function),
    **dict.fromkeys(TEXTUAL, _Run.textual),
    "date_diff": _Run.date_diff,
    "cast": _Run.cast,
    "round": _Run.round,
    "and": _Run.conjunction,
    "or": _Run.disjunction,
    "not": _Run.negation,
    "is_null": _Run.is_null,
    "between": _Run.between,
    "in": _Run.membership,
    "case": _Run.case,
    "switch": _Run.case,
    "coalesce": _Run.coalesce,
    "nullif": _Run.nullif,
    "least": _Run.extreme,
    "greatest": _Run.extreme,
    "now": _Run.now,
    "extract": _Run.extract,
}
"""Every op of `freshet.spec.expr.functions`."""
