"""`freshet smoke`: its events are valid, its expectations are SQL's, and its judges see what is wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from freshet.engine.decode import EventDecoder
from freshet.engine.layout import Layout
from freshet.engine.reader import Reader
from freshet.engine.state import PartitionState
from freshet.smoke import events, expect
from freshet.smoke.events import Plan, Value
from freshet.smoke.judge import Guessed, Known
from freshet.spec.definition import AggregateFeature, Definition
from freshet.spec.expr import sql
from freshet.spec.expr.tree import Name, Type, names
from freshet.spec.load import load_featuresets, parse_featureset

NOW = 1_767_609_000_000
TEXT = """
apiVersion: freshet.dev/v1alpha1
kind: FeatureSet
metadata: {name: orders}
spec:
  version: v1
  entity: {name: shop, key: shop}
  source:
    topic: orders
    partitions: 2
    replication: 1
    timestamp: at
    eventId: id
    deduplicate: 10m
    fields:
      kind: {type: string, required: true}
      total: {type: double, minimum: 5, maximum: 6, required: true}
      pieces: {type: integer, minimum: 3}
      few: {type: integer, maximum: -2.5}
      paid: {type: boolean, path: payment.done, required: true}
      city: {type: string, path: payment.to.city}
      owner: {type: string, path: shop}
  features:
    - {name: n, aggregate: count, windows: [1m, 1h]}
    - {name: sold, aggregate: count, where: "kind in ('sale', 'order') and paid", windows: [1m, lifetime]}
    - {name: money, aggregate: sum, of: "total * pieces - coalesce(few, 0)", where: "kind <> 'return'", windows: [1h]}
    - {name: mean, aggregate: mean, of: total, where: "not (paid or city = 'Rome')", windows: [1h]}
    - {name: most, aggregate: max, of: pieces, windows: [1h]}
    - {name: least, aggregate: min, of: few}
    - {name: spread, aggregate: stddev, of: total, where: "total between 5 and 5.5"}
    - {name: newest, aggregate: last, of: abs(few)}
    - {name: oldest, aggregate: first, of: "-total", where: "city is not null"}
    - {name: pace, aggregate: rate, windows: [1h], unit: minute}
    - {name: idle, aggregate: time_since_last, where: "kind = 'return'"}
    - {name: sessions, aggregate: session_count, gap: 1s}
    - {name: active, aggregate: session_active, gap: 1h, default: false}
    - {name: nothing, aggregate: max, of: total, where: "kind = 'a' and kind = 'b'", default: -1}
    - {name: places, aggregate: distinct, of: city}
    - {name: usual, aggregate: mode, of: kind, windows: [1h]}
    - {name: newest_kind, aggregate: last, of: kind}
    - {name: decayed, aggregate: ewma, of: total, halfLife: 1h}
    - {name: each, expression: "money_1h / nullif(n_1h, 0)"}
"""


CARD_FRAUD = Path(__file__).parents[2] / "examples" / "card-fraud"


@pytest.fixture(scope="module")
def definition() -> Definition:
    return parse_featureset(TEXT).definition


@pytest.fixture(scope="module")
def plan(definition: Definition) -> Plan:
    return events.plan(definition, "freshet-smoke-x", NOW)


def test_every_event_is_valid_and_expressions_see_what_the_plan_says(definition: Definition, plan: Plan) -> None:
    values = [event.json() for event in plan.events]
    count = len(values)
    decoder = EventDecoder(definition)
    batch, rejected = decoder.decode(values, np.arange(count, dtype=np.int64), np.full(count, NOW, np.int64))
    assert not rejected
    assert set(batch.keys) == {"freshet-smoke-x"}
    assert batch.t_ms.tolist() == [event.t_ms for event in plan.events]
    for field in definition.fields:
        column = batch.fields[field.name]
        assert [column.values[i] for i in range(count)] == [event.values[field.name] for event in plan.events]
    assert {event.values["kind"] for event in plan.events} == {"sale", "order", "return", "a", "b"}
    assert {event.values["city"] for event in plan.events} == {"Rome"}


def test_events_of_a_rekeyed_featureset_are_good_for_the_topics_own_ones() -> None:
    users, cards = (load_featuresets([CARD_FRAUD / f"{name}.yaml"])[0].definition for name in ("users", "cards"))
    plan = events.plan(cards, "freshet-smoke-x", NOW, [users])
    assert plan.keys == ("card_id", "user_id")
    values = [event.json() for event in plan.events]
    for definition in (users, cards):
        judged = EventDecoder(definition).judge(values, NOW)
        assert (set(judged.keys), judged.rejected) == ({"freshet-smoke-x"}, [])
    assert {event.values["user_id"] for event in plan.events} == {"freshet-smoke-x"}, "cards read it as a field"


def test_filters_and_values_are_what_sql_says(definition: Definition, plan: Plan) -> None:
    kinds = {field.name: field.type for field in definition.fields}
    compared = 0
    for feature in definition.features:
        if not isinstance(feature, AggregateFeature):
            continue
        for expr in (feature.input.where, feature.input.of):
            if expr is None:
                continue
            used = {name: kinds[name] for name in names(expr)}
            for index, event in enumerate(plan.events):
                row: dict[str, Value] = {name: None if index == 3 else event.values[name] for name in used}
                wanted = _sql(expr, row, used)
                assert expect.value_of(expr, row) == (pytest.approx(wanted) if isinstance(wanted, float) else wanted)
                compared += 1
    assert compared > 50


def _quoted(name: str) -> str:
    return f'"{name}"'


def _sql(expr: Any, row: Mapping[str, Value], kinds: Mapping[str, Type]) -> Value:
    types = {Type.TEXT: "VARCHAR", Type.BOOLEAN: "BOOLEAN", Type.DOUBLE: "DOUBLE", Type.INTEGER: "DOUBLE"}
    columns = ", ".join(f'CAST(? AS {types[kinds[name]]}) AS "{name}"' for name in row)
    found = duckdb.execute(f"SELECT {sql.to_sql(expr, _quoted)} FROM (SELECT {columns})", list(row.values())).fetchone()
    assert found
    value: Value = found[0]
    return value


def served(definition: Definition, plan: Plan, twice: bool = False, none: bool = False) -> dict[str, Any]:
    """An answer that is right for these events, made by the same rules."""
    sent = [] if none else [plan.events[0], *plan.events] if twice else list(plan.events)
    at = events.rfc3339(NOW)
    found: dict[str, Any] = {}
    for feature in definition.features:
        entry: dict[str, Any] = {"value": None, "computed_at": at}
        span = (-1e18, 1e18)
        if isinstance(feature, AggregateFeature) and feature.name != "decayed":
            if feature.window:
                span = (NOW - feature.window.length_ms, NOW)
                entry["window"] = {"start": events.rfc3339(int(span[0])), "end": at}
            entry["value"] = expect.expected(feature, sent, span, NOW)
        found[feature.name] = entry
    return found


def test_texts_are_what_the_engine_says(definition: Definition, plan: Plan) -> None:
    count = len(plan.events)
    broker = np.full(count, NOW, np.int64)
    batch, _ = EventDecoder(definition).decode(
        [e.json() for e in plan.events], np.arange(count, dtype=np.int64), broker
    )
    states = PartitionState(definition, Layout(definition))
    states.load(["freshet-smoke-x"], [None])
    states.apply(batch, np.ones(count, np.bool_))
    [blob] = [write.blob for write in states.encode(states.slots(["freshet-smoke-x"]))]
    columns = Reader(definition).read(["freshet-smoke-x"], [blob], NOW).columns
    for feature in definition.features:
        if feature.name in ("places", "usual_1h", "newest_kind"):
            assert isinstance(feature, AggregateFeature)
            assert columns[feature.name].values[0] == expect.expected(feature, plan.events, (-1e18, 1e18), NOW)


def test_right_values_are_right_and_the_rest_is_named(definition: Definition, plan: Plan) -> None:
    judge = Known(definition, plan)
    verdict = judge.look(served(definition, plan))
    assert verdict.right
    assert verdict.compared == len(definition.features) - 2
    assert "2 not compared" in judge.left_out


@pytest.mark.parametrize(
    ("feature", "value"),
    [("n_1m", 0), ("n_1h", 99), ("money_1h", 1.5), ("active", None), ("active", 1), ("nothing", None), ("idle", "8")],
)
def test_a_wrong_value_is_seen(definition: Definition, plan: Plan, feature: str, value: object) -> None:
    answer = served(definition, plan)
    answer[feature]["value"] = value
    verdict = Known(definition, plan).look(answer)
    assert [problem.split()[0] for problem in verdict.problems] == [feature]
    assert (verdict.right, verdict.unseen, verdict.twice) == (False, False, False)
    del answer[feature]
    assert not Known(definition, plan).look(answer).right


def test_unseen_and_twice_counted_events_are_told_apart(definition: Definition, plan: Plan) -> None:
    judge = Known(definition, plan)
    unseen, twice = (judge.look(served(definition, plan, **{how: True})) for how in ("none", "twice"))
    assert (unseen.right, unseen.unseen, unseen.twice) == (False, True, False)
    assert (twice.right, twice.unseen, twice.twice) == (False, False, True)


def test_without_a_duplicate_filter_twice_is_right(plan: Plan) -> None:
    definition = parse_featureset(TEXT.replace("deduplicate: 10m", "deduplicate: 0s")).definition
    again = events.plan(definition, "freshet-smoke-x", NOW)
    assert Known(definition, again).look(served(definition, plan, twice=True)).right
    assert not Known(definition, again).look(served(definition, plan)).right


def guessed(value_n: int, value_filtered: int, since: float | None = 3.0) -> Any:
    features = [{"name": name, "aggregate": "count"} for name in ("n", "filtered")]
    features.append({"name": "since", "aggregate": "time_since_last"})
    plan = events.learned({"shop": "x", "event_id": "x"}, "shop", "at", "x", NOW)
    values = {"n": value_n, "filtered": value_filtered, "since": since}
    return Guessed(features, plan).look({name: {"value": value} for name, value in values.items()})


def test_without_a_manifest_counts_are_judged_with_care() -> None:
    assert guessed(8, 3).right
    assert guessed(9, 3).twice
    assert not guessed(9, 3).right
    assert not guessed(12, 3).twice
    assert not guessed(12, 3).right
    assert guessed(0, 0, None).unseen
    some = guessed(4, 3)
    assert (some.right, some.unseen, bool(some.unsure)) == (False, False, True)
    assert guessed(0, 0).unsure


def test_other_functions_are_not_worked_out(definition: Definition) -> None:
    (decayed,) = [f for f in definition.features if f.name == "decayed"]
    assert isinstance(decayed, AggregateFeature)
    with pytest.raises(expect.CannotTell):
        expect.expected(decayed, [], (0, 1), 1)
    with pytest.raises(expect.CannotTell):
        expect.value_of(Name("unknown", Type.DOUBLE), {})


def test_copies_are_other_events_of_another_entity(definition: Definition, plan: Plan) -> None:
    made = events.copies(plan.events[0], "freshet-smoke-x", "freshet-smoke-x-load", 3)
    assert {one["shop"] for one in made} == {"freshet-smoke-x-load"}
    assert len({one["id"] for one in made}) == 3
    assert not EventDecoder(definition).judge([json.dumps(one).encode() for one in made], NOW).rejected
