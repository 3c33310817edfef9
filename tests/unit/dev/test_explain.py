"""What `freshet explain` says of values, and the text of expressions."""

from __future__ import annotations

import numpy as np
import pytest

from freshet.dev.explain import explain, formula
from freshet.engine.layout import Layout
from freshet.engine.state import PartitionState
from freshet.spec.definition import Aggregate, AggregateFeature
from freshet.spec.expr.check import compile_expression
from freshet.spec.expr.scope import Scope
from freshet.spec.expr.text import expression_text
from freshet.spec.expr.tree import Type
from tests.unit.engine.build import AMOUNT, EVERY, HOUR_WINDOW, MINUTE, T0, batch, definition, feature

SESSIONS: AggregateFeature = feature(Aggregate.SESSION_COUNT, of=EVERY, gap_ms=30 * MINUTE, kind=Type.INTEGER)
MADE = definition(
    feature(Aggregate.COUNT, HOUR_WINDOW, EVERY),
    feature(Aggregate.SUM, None, AMOUNT),
    feature(Aggregate.DISTINCT, HOUR_WINDOW, AMOUNT, kind=Type.INTEGER),
    SESSIONS,
)


def blob() -> bytes:
    states = PartitionState(MADE, Layout(MADE))
    states.load(["a"], [None])
    rows = batch([("a", 0, 1.0), ("a", 1, 2.0), ("a", MINUTE, 4.0)])
    states.apply(rows, np.ones(len(rows), np.bool_))
    return states.encode(states.slots(["a"]))[0].blob


def test_a_windowed_value_shows_its_bounds_and_tiles() -> None:
    found = explain(MADE, "a", "count_1h", blob(), T0 + 2 * MINUTE)
    assert (found.value, found.formula, found.hop) == (3, "count(events) over 1h", "1m")
    assert (found.since, found.until) == ("2027-01-15T07:02:00.000Z", "2027-01-15T08:02:00.000Z")
    assert [(tile.start, tile.parts) for tile in found.tiles] == [
        ("2027-01-15T08:00:00.000Z", {"count": [2.0]}),
        ("2027-01-15T08:01:00.000Z", {"count": [1.0]}),
    ]


def test_lives_sessions_sets_and_unknown_entities() -> None:
    assert explain(MADE, "a", "sum", blob(), T0).tiles[0].parts == {"sum": [7.0]}
    assert len(explain(MADE, "a", "session_count", blob(), T0).tiles[0].parts) == 1
    assert explain(MADE, "a", "distinct_1h", blob(), T0).notes == ["3 rows in the window's bag, coarseness 0"]
    nobody = explain(MADE, "b", "count_1h", None, T0)
    assert (nobody.value, nobody.tiles, nobody.newest_event) == (0, [], None)
    with pytest.raises(KeyError):
        explain(MADE, "a", "count_2h", blob(), T0)


def test_a_formula_names_its_options() -> None:
    assert formula(SESSIONS) == "session_count(events) gap 30m over the lifetime"


TYPES = {"a": Type.DOUBLE, "b": Type.DOUBLE, "s": Type.TEXT, "p": Type.BOOLEAN, "t": Type.TIMESTAMP}
SCOPE = Scope(TYPES, "feature", now=True)
TEXTS = [
    "(a + b) * -a / (b - (a - 1))", "a + b * 2", "p and not (a > b or s is null)", "(a = b) = p", "-(-a)",
    "case when a > 1 then 'x''y' else s || lower(s) end", "case a when 1 then b else null end", "a not in (1, 2.5)",
    "(a between 1 and b) or s like 'a%'", "round(a, 2)", "round(a)", "extract(hour from now())", "substr(s, 1, 3)",
    "cast(a as integer)", "date_diff('day', t, now())", "pow(a, 2) % 3", "coalesce(a, least(b, 1e300))",
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_the_text_of_a_tree_means_the_tree(text: str) -> None:
    tree = compile_expression(text, SCOPE)
    assert compile_expression(expression_text(tree), SCOPE) == tree
