"""Expression features: their order, their cycles, their types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter

from sqlglot import exp

from freshet.spec.expr.check import BrokenName, check
from freshet.spec.expr.parse import ExpressionError, columns, parse_sql
from freshet.spec.expr.scope import Scope
from freshet.spec.expr.tree import Expr, Type
from freshet.spec.problems import Path, Problem


@dataclass(frozen=True, slots=True)
class Written:
    """An expression feature as the manifest has it."""

    name: str
    text: str
    path: Path


def compile_expressions(
    written: Sequence[Written], scope: Scope, problems: list[Problem]
) -> tuple[dict[str, Expr | None], list[str]]:
    """The trees by name, None where a problem was found, and an order in which each comes after what it reads.

    `scope` has all names but those of the expressions.
    """
    parsed = _parse(written, problems)
    order = _order(written, parsed, problems)
    types: dict[str, Type | None] = {**scope.names, **dict.fromkeys(one.name for one in written)}
    paths = {one.name: one.path for one in written}
    trees: dict[str, Expr | None] = dict.fromkeys(one.name for one in written)
    for name in order:
        syntax = parsed[name]
        try:
            tree = check(syntax, replace(scope, names=types))
        except ExpressionError as error:
            problems.append(Problem(paths[name], str(error)))
            continue
        except BrokenName:
            continue
        if tree.type is Type.TIMESTAMP:
            problems.append(Problem(paths[name], "gives a timestamp; write extract(epoch from …) for its seconds"))
            continue
        trees[name], types[name] = tree, tree.type
    return trees, order


def _parse(written: Sequence[Written], problems: list[Problem]) -> dict[str, exp.Expr]:
    parsed: dict[str, exp.Expr] = {}
    for one in written:
        try:
            parsed[one.name] = parse_sql(one.text)
        except ExpressionError as error:
            problems.append(Problem(one.path, str(error)))
    return parsed


def _order(written: Sequence[Written], parsed: Mapping[str, exp.Expr], problems: list[Problem]) -> list[str]:
    """Names in an order of evaluation. Every cycle is told once and left out."""
    paths = {one.name: one.path for one in written}
    reads = {name: {read for read in columns(syntax) if read in parsed} for name, syntax in parsed.items()}
    while True:
        try:
            return list(TopologicalSorter(reads).static_order())
        except CycleError as error:
            # graphlib gives each node before the one that reads it: turned round it reads as "needs".
            ring = list(reversed(error.args[1]))[:-1]
            first = min(range(len(ring)), key=lambda i: str(paths[ring[i]]))
            ring = [*ring[first:], *ring[:first]]
            shown = " → ".join((*ring, ring[0]))
            message = f"reads itself: {shown}" if len(ring) > 1 else "reads itself"
            problems.append(Problem(paths[ring[0]], message))
            for name in ring:
                del reads[name]
            reads = {name: needs - set(ring) for name, needs in reads.items()}
