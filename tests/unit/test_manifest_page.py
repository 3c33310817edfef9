"""The tables of docs/manifest.md are computed: aggregates by the engine, expressions by the engine and DuckDB."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from freshet.dev.oracle.log import Record, log_of
from freshet.engine.column import Column
from freshet.engine.evaluate import evaluate
from freshet.engine.layout import Layout
from freshet.engine.reader import Reader
from freshet.engine.state import PartitionState
from freshet.engine.vectors import plain
from freshet.spec.definition import Aggregate
from freshet.spec.expr.check import compile_expression
from freshet.spec.expr.functions import FUNCTION_NAMES
from freshet.spec.expr.scope import Scope
from freshet.spec.expr.sql import to_sql
from freshet.spec.expr.tree import Type
from freshet.spec.features import FeatureModel
from freshet.spec.load import parse_featureset
from freshet.spec.manifest import SourceModel, SpecModel

PAGE = Path("docs/manifest.md").read_text(encoding="utf-8")
MIDNIGHT = 1_774_828_800_000  # 2026-03-30
HOUR = 3_600_000


def table(head: str) -> list[list[str]]:
    """The cells of the table that begins with `head`; a \\| or || inside code is none of its borders."""
    lines = PAGE[PAGE.index(head) :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in re.split(r"(?<!\|)\|(?!\|)", line)[1:-1]] for line in lines]


def codes(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def clock(text: str) -> int:
    hours, minutes, seconds = map(int, text.split(":"))
    return MIDNIGHT + 1000 * (seconds + 60 * minutes + 3600 * hours)


EXAMPLES = [(codes(cells[0])[0], cells[1]) for cells in table("| feature | value |")]


@pytest.mark.parametrize(("feature", "told"), EXAMPLES)
def test_an_aggregate_by_example(feature: str, told: str) -> None:
    manifest = f"""
apiVersion: freshet.dev/v1alpha1
kind: FeatureSet
metadata: {{name: page}}
spec:
  version: v1
  entity: {{name: user, key: user_id}}
  source: {{fields: {{kind: {{type: string}}, amount: {{type: double}}}}}}
  features: [{{name: x, {feature}}}]
"""
    definition = parse_featureset(manifest).definition
    rows = table("| t | kind | amount |")
    fields = [{"kind": kind, "amount": float(amount) if amount else None} for _, kind, amount in rows]
    records = [
        Record(i, clock(cells[0]), clock(cells[0]), "a", None, given)
        for i, (cells, given) in enumerate(zip(rows, fields, strict=True))
    ]
    states = PartitionState(definition, Layout(definition))
    states.load(["a"], [None])
    batch = log_of(records, definition).batch(definition)
    states.apply(batch, np.ones(len(batch), np.bool_))
    found = states.table.gather(states.rows(states.slots(["a"])))
    vectors = Reader(definition).read_states(["a"], *found, MIDNIGHT + 12 * HOUR)
    [(name, column)] = vectors.columns.items()
    value = plain(column, definition.feature(name).type)[0]
    want = json.loads(codes(told)[0])
    if isinstance(want, float):
        assert value == pytest.approx(want, rel=0.0100001 if "within" in told else 1e-12)
    else:
        assert (type(value), value) == (type(want), want)


def test_every_aggregate_is_in_both_tables() -> None:
    named = {name.strip() for cells in table("| aggregate | value |") for name in cells[0].split(",")}
    assert named == set(Aggregate)
    assert {re.match(r"aggregate: (\w+)", text).group(1) for text, _ in EXAMPLES} == set(Aggregate)  # type: ignore[union-attr]


COLUMNS: dict[str, tuple[Type, Any]] = {
    "a": (Type.DOUBLE, -2.5),
    "n": (Type.INTEGER, 3.0),
    "s": (Type.TEXT, " Ab"),
    "t": (Type.TIMESTAMP, float(MIDNIGHT - 24 * HOUR + HOUR // 2)),
}
NOW = float(MIDNIGHT + HOUR // 2)
EXPRESSIONS = [
    pair
    for cells in table("| example | value | meaning |")
    for pair in zip(codes(cells[0]), codes(cells[1]), strict=True)
]


@pytest.mark.parametrize(("text", "told"), EXPRESSIONS)
def test_an_expression_by_example(text: str, told: str) -> None:
    scope = Scope({name: kind for name, (kind, _) in COLUMNS.items()}, "feature", now=True)
    expr = compile_expression(text, scope)
    columns = {}
    for name, (kind, value) in COLUMNS.items():
        held = np.empty(1, object if kind is Type.TEXT else np.float64)
        held[0] = value
        columns[name] = Column(held)
    column, _ = evaluate(expr, columns, 1, np.array([NOW]), "Europe/Kyiv")
    value = plain(column, expr.type)[0]
    want = json.loads(told)
    assert (type(value), value) == (type(want), pytest.approx(want, rel=1e-15) if isinstance(want, float) else want)
    sources = {"a": "-2.5::DOUBLE", "n": "3::DOUBLE", "s": "' Ab'", "t": f"make_timestamp_ms({int(COLUMNS['t'][1])})"}
    sql = to_sql(expr, sources.__getitem__, now=f"make_timestamp_ms({int(NOW)})", timezone="Europe/Kyiv")
    theirs = duckdb.execute(f"SELECT {sql}").fetchone()
    assert theirs == ((pytest.approx(want, rel=1e-15) if isinstance(want, float) else want),)


def test_every_function_has_an_example() -> None:
    texts = " ".join(text for text, _ in EXPRESSIONS)
    assert [name for name in FUNCTION_NAMES if f"{name}(" not in texts] == []


def test_every_field_is_on_the_page() -> None:
    names = [*SpecModel.model_fields, *SourceModel.model_fields, *FeatureModel.model_fields]
    assert [name for name in names if name not in PAGE] == []
