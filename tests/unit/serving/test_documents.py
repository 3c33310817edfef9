"""The JSON put together from fragments says what the engine's plain rows say."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshet.engine.column import Column
from freshet.engine.reader import Vectors
from freshet.engine.vectors import feature_rows, from_rows
from freshet.runtime.timestamps import rfc3339
from freshet.serving.documents import Block, Documents, PartTexts, single_document, window_bounds
from freshet.serving.selection import Selection, Selector
from freshet.serving.values import texts
from freshet.spec.definition import Window
from freshet.spec.expr.tree import Type
from tests.unit.serving.build import ACTIVITY, catalogue
from tests.unit.spec.manifests import with_features

Q = 1_800_000_000_123
CATALOGUE = catalogue(ACTIVITY)
SERVED = CATALOGUE.find("user-activity")
SELECTION = Selector(CATALOGUE).from_query(b"", None)
BOUNDED = Selector(CATALOGUE).from_query(b"bounds=true", None)
PART = SELECTION.parts[0]

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
BY_TYPE = {
    Type.DOUBLE: NUMBERS,
    Type.INTEGER: st.integers(-(2**53), 2**53).map(float),
    Type.BOOLEAN: st.booleans(),
    Type.TEXT: st.text(st.characters(exclude_categories=["Cs"])),
}


@st.composite
def columns(draw: st.DrawFn, kind: Type, size: int) -> Column:
    values = draw(st.lists(BY_TYPE[kind], min_size=size, max_size=size))
    kinds: dict[Type, type] = {Type.TEXT: object, Type.BOOLEAN: np.bool_}
    array: np.ndarray[Any, Any] = np.array(values, kinds.get(kind, np.float64))
    valid = draw(st.none() | st.lists(st.booleans(), min_size=size, max_size=size))
    return Column(array, None if valid is None else np.array(valid, np.bool_))


@st.composite
def vectors(draw: st.DrawFn) -> Vectors:
    size = draw(st.integers(1, 4))
    q = np.array(draw(st.lists(st.integers(Q, Q + 1), min_size=size, max_size=size)), np.int64)
    found = {name: draw(columns(feature.type, size)) for name, feature in SERVED.features.items()}
    return Vectors(q, q, q, found, 0)


def one(block: Block, row: int, selection: Selection, key: str = "a") -> dict[str, Any]:
    documents = Documents(selection)
    documents.add(key, [(block, row)])
    found: dict[str, Any] = json.loads(documents.text())
    return found


@given(vectors(), st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_a_document_says_what_the_rows_say(some: Vectors, key: str) -> None:
    block = Block(some)
    for row, expected in enumerate(feature_rows(some, SERVED.definition)):
        found = one(block, row, SELECTION, key)
        at = rfc3339(int(some.q_ms[row]))
        assert found == {
            "user_id": key,
            "features": {name: {"value": value, "computed_at": at} for name, value in expected.items()},
        }
        first = json.loads(single_document("user_id", key, block.texts(PART).single(row, False)))
        name = PART.labels[0]
        assert first == {"user_id": key, "feature": name, "value": expected[name], "computed_at": at}


@given(vectors())
def test_bounds_are_those_of_the_design(some: Vectors) -> None:
    found = one(Block(some), 0, BOUNDED)["features"]
    q = int(some.q_ms[0])
    window = SERVED.definition.windows[0]
    edge = (q - window.length_ms) // window.hop_ms * window.hop_ms
    assert found["activity_count_1h"]["window"] == {"start": rfc3339(edge), "end": rfc3339(q)}
    assert "window" not in found["share"]


def test_doubles_keep_their_point_and_integers_have_none() -> None:
    assert texts([[1.0, -0.0, 0.1], [3, 2**62, None]], [Type.DOUBLE, Type.INTEGER]) == [
        b"1.0",
        b"-0.0",
        b"0.1",
        b"3",
        b"4611686018427387904",
        b"null",
    ]


@given(vectors())
def test_recorded_rows_come_back_as_they_were(some: Vectors) -> None:
    rows = json.loads(json.dumps(feature_rows(some, SERVED.definition)))
    found = from_rows(rows, SERVED.definition, some.q_ms.tolist(), some.offset.tolist())
    assert feature_rows(found, SERVED.definition) == rows
    assert PartTexts(PART, found)._texts == PartTexts(PART, some)._texts
    assert (found.q_ms.tolist(), found.offset.tolist()) == (some.q_ms.tolist(), some.offset.tolist())


@given(st.lists(vectors(), min_size=2, max_size=2), st.lists(st.sampled_from(["a", "b", "error"]), max_size=5))
def test_many_documents_are_each_what_it_is_alone(some: list[Vectors], asked: list[str]) -> None:
    """Of blocks with different read times, one of them of recorded values, and with errors among them."""
    blocks = {"a": Block(some[0]), "b": Block(some[1], stale=True)}
    documents = Documents(SELECTION, b"[", b",")
    for name in ["a", *asked]:
        if name == "error":
            documents.add_error(name, {"code": "gone"})
        else:
            documents.add(name, [(blocks[name], 0)])
    expected = [
        {"user_id": name, "error": {"code": "gone"}} if name == "error" else one(blocks[name], 0, SELECTION, name)
        for name in ["a", *asked]
    ]
    assert json.loads(documents.text(b"]")) == expected
    assert [found.get("stale", False) for found in expected] == [name == "b" for name in ["a", *asked]]


def test_recorded_lists_come_back_as_lists() -> None:
    """Two lists of one length are no table."""
    definition = with_features("name: x, aggregate: last_n, size: 2, of: amount").definition
    rows: list[dict[str, Any]] = [{"x": [1.0, 2.0]}, {"x": [3.0, 4.0]}, {"x": None}]
    assert feature_rows(from_rows(rows, definition, [1, 1, 1], [1, 1, 1]), definition) == rows
    with pytest.raises(ValueError, match="not of the type list"):
        from_rows([{"x": 1.0}], definition, [1], [1])


@pytest.mark.parametrize("wrong", [{"level": 1}, {"share": "x"}, {"share": True}, {"is_active_session": 1}])
def test_a_row_of_another_definition_is_refused(wrong: dict[str, Any]) -> None:
    row: dict[str, Any] = dict.fromkeys(SERVED.features)
    assert from_rows([row], SERVED.definition, [1], [1]).columns["share"].mask().tolist() == [False]
    with pytest.raises(ValueError, match=next(iter(wrong))):
        from_rows([row | wrong], SERVED.definition, [1], [1])
    del row["share"]
    with pytest.raises(ValueError, match="no value of the feature 'share'"):
        from_rows([row], SERVED.definition, [1], [1])


def test_nothing_asked_gives_no_texts() -> None:
    assert texts([], []) == []


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_767_609_000_007, "2026-01-05T10:30:00.007Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
    ],
)
def test_times(ms: int, text: str) -> None:
    assert rfc3339(ms) == text


def test_the_oldest_edge_lies_on_the_hop() -> None:
    window = Window(3_600_000, 60_000, "1h")
    assert window_bounds(window, 7_265_500) == (3_660_000, 7_265_500)
