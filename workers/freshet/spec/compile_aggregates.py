"""From an aggregate feature as it is written to the values it gives: one a window."""

from __future__ import annotations

from collections.abc import Iterator

from freshet.spec.definition import Aggregate, AggregateFeature, Input, Window
from freshet.spec.expr.check import BrokenName, compile_expression
from freshet.spec.expr.parse import ExpressionError
from freshet.spec.expr.scope import Scope
from freshet.spec.expr.tree import Expr, Type
from freshet.spec.features import (
    NEVER_NULL,
    OF_ANY_TYPE,
    OF_VALUES,
    SESSIONS,
    UNITS_MS,
    WINDOWED,
    WITH_UNIT,
    FeatureModel,
)
from freshet.spec.problems import Path, Problem, quoted
from freshet.spec.windows import LIFETIME, parse_window

_PICKS = frozenset({Aggregate.SUM, Aggregate.MIN, Aggregate.MAX, Aggregate.FIRST, Aggregate.LAST, Aggregate.MODE})
"""Aggregates whose value is of the type of the values they see."""


_OWN_FIELDS = (
    ("halfLife", Aggregate.EWMA, "after how long a value counts half, for example 1h"),
    ("size", Aggregate.LAST_N, "how many values, for example 5"),
    ("percentile", Aggregate.PERCENTILE, "how many percent of the values lie at or below it, for example 95"),
)
"""Fields that one aggregate has, and needs."""


class AggregateCompiler:
    """Compiles the aggregate features of one manifest; equal inputs become one object."""

    def __init__(self, scope: Scope, problems: list[Problem]) -> None:
        self._scope = scope
        self._problems = problems
        self._inputs: dict[Input, Input] = {}

    def compile(self, model: FeatureModel, path: Path) -> list[AggregateFeature]:
        """The features that `model` gives; none where it has a problem."""
        aggregate = Aggregate(model.aggregate or "")
        before = len(self._problems)
        self._problems.extend(Problem((*path, field), message) for field, message in misplaced(model, aggregate))
        windows = self._windows(model, aggregate, path)
        source, broken = self._input(model, aggregate, path)
        if source is None or broken or len(self._problems) > before:
            return []
        source = self._inputs.setdefault(source, source)
        return [_feature(model, aggregate, source, name, window) for name, window in windows]

    def _windows(self, model: FeatureModel, aggregate: Aggregate, path: Path) -> list[tuple[str, Window | None]]:
        if model.windows is None:
            return [(model.name, None)]
        found: list[tuple[str, Window | None]] = []
        for i, text in enumerate(model.windows):
            where = (*path, "windows", i)
            name = f"{model.name}_{text}"
            if text == LIFETIME:
                window = None
                if aggregate is Aggregate.RATE:
                    self._problems.append(Problem(where, "rate has no lifetime form: a life has no fixed length"))
            else:
                try:
                    window = parse_window(text, model.granularity)
                except ValueError as error:
                    self._problems.append(Problem(where, f"{error}; got {quoted(text)}"))
                    continue
            same = [other for other, known in found if (known and known.length_ms) == (window and window.length_ms)]
            if same:
                self._problems.append(Problem(where, f"{quoted(text)} is the same window as that of {same[0]}"))
            found.append((name, window))
        return found

    def _input(self, model: FeatureModel, aggregate: Aggregate, path: Path) -> tuple[Input | None, bool]:
        of = where = None
        broken = False
        if model.of is not None and aggregate in OF_VALUES:
            of, unknown = self._expr(model.of, (*path, "of"))
            broken |= unknown
            if of is not None and not of.type.is_number and aggregate not in OF_ANY_TYPE:
                message = f"{aggregate} takes numbers; this gives a {of.type}"
                self._problems.append(Problem((*path, "of"), message))
        if model.where is not None:
            where, unknown = self._expr(model.where, (*path, "where"))
            broken |= unknown
            if where is not None and where.type is not Type.BOOLEAN:
                message = f"must be a condition that is true or false; this gives a {where.type}"
                self._problems.append(Problem((*path, "where"), message))
        return Input(of, where), broken

    def _expr(self, text: str, path: Path) -> tuple[Expr | None, bool]:
        """The tree, and whether a broken field keeps it from being known."""
        try:
            return compile_expression(text, self._scope), False
        except ExpressionError as error:
            self._problems.append(Problem(path, str(error)))
        except BrokenName:
            return None, True
        return None, False


def misplaced(model: FeatureModel, aggregate: Aggregate) -> Iterator[tuple[str, str]]:
    """Fields that the aggregate needs and lacks, or has and does not use."""
    if aggregate in OF_VALUES and model.of is None:
        yield "of", f"is required by {aggregate}: the value that is aggregated, for example `of: amount`"
    if aggregate not in OF_VALUES and model.of is not None:
        condition = quoted(f"{model.of} is not null")
        yield "of", f"{aggregate} is of events and takes no value; write `where: {condition}`"
    if aggregate not in WINDOWED and model.windows is not None:
        yield "windows", f"{aggregate} has no windows: it is of the entity's whole life"
    if aggregate is Aggregate.RATE and model.windows is None:
        yield "windows", "is required by rate, which is events a unit of the window"
    if model.granularity is not None and not any(text != LIFETIME for text in model.windows or ()):
        yield "granularity", "has no window to cut"
    if model.unit is not None and aggregate not in WITH_UNIT:
        yield "unit", f"{aggregate} has no unit"
    if aggregate in SESSIONS and model.gap is None:
        yield "gap", f"is required by {aggregate}: how long a pause ends a session, for example 30m"
    if aggregate not in SESSIONS and model.gap is not None:
        yield "gap", "is only for session_active, session_count and session_duration"
    for field, wanted, why in _OWN_FIELDS:
        if aggregate is wanted and getattr(model, field) is None:
            yield field, f"is required by {wanted}: {why}"
        if aggregate is not wanted and getattr(model, field) is not None:
            yield field, f"is only for {wanted}"
    if aggregate is Aggregate.LAST_N and model.default is not None:
        yield "default", "last_n gives a list, which nothing can stand for"
    if aggregate in NEVER_NULL and model.default is not None:
        yield "default", f"would never be served: {aggregate} is 0 without events"


def _feature(
    model: FeatureModel, aggregate: Aggregate, source: Input, name: str, window: Window | None
) -> AggregateFeature:
    return AggregateFeature(
        name=name,
        base=model.name,
        aggregate=aggregate,
        input=source,
        window=window,
        type=_type(aggregate, source.of),
        unit_ms=UNITS_MS[model.unit or "second"],
        gap_ms=model.gap or 0,
        half_life_ms=model.halfLife or 0,
        n=model.size or 0,
        quantile=(model.percentile or 0.0) / 100,
        default=model.default,
    )


def _type(aggregate: Aggregate, of: Expr | None) -> Type:
    if aggregate in (Aggregate.COUNT, Aggregate.SESSION_COUNT, Aggregate.DISTINCT):
        return Type.INTEGER
    if aggregate is Aggregate.LAST_N:
        return Type.LIST
    if aggregate is Aggregate.SESSION_ACTIVE:
        return Type.BOOLEAN
    if aggregate in _PICKS and of is not None:
        return of.type
    return Type.DOUBLE
