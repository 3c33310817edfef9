"""Entity keys, bodies, and the forms of errors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshet.serving import batch, bodies, describe, feast, keys
from freshet.serving.catalogue import Catalogue
from freshet.serving.problems import Problem, unknown
from freshet.serving.selection import Selector
from tests.unit.serving.build import ACTIVITY, catalogue, featuresets

CATALOGUE = catalogue()
SELECTOR = Selector(CATALOGUE)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@pytest.mark.parametrize(
    ("segment", "key"),
    [
        (b"user_alice", "user_alice"),
        (b"a%2Fb", "a/b"),
        (b"%C3%BC%20%F0%9F%98%80", "ü 😀"),
        (b"a+b", "a+b"),
        (b"%zz", "%zz"),
    ],
)
def test_a_key_in_a_path(segment: bytes, key: str) -> None:
    assert keys.checked(keys.from_path(segment)) == key


@pytest.mark.parametrize("key", ["", "x" * 513, "ü" * 257, "a\0b"])
def test_keys_that_no_event_has(key: str) -> None:
    with pytest.raises(Problem) as caught:
        keys.checked(key)
    assert (caught.value.status, caught.value.code) == (400, "bad_key")


@pytest.mark.parametrize("key", ["x" * 512, "ü" * 256, "😀" * 128])
def test_keys_of_full_length(key: str) -> None:
    assert keys.checked(key) == key


def test_a_path_that_is_not_utf8() -> None:
    with pytest.raises(Problem, match="UTF-8"):
        keys.from_path(b"%ff")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"1", b'{"a":"\xff"}', b"[" * 100_000, b'{"a":"\\ud800"}'])
def test_bodies_that_are_no_object(body: bytes) -> None:
    with pytest.raises(Problem) as caught:
        bodies.decode(body)
    assert caught.value.status == 400


@given(
    st.lists(
        st.text(max_size=4) | st.sampled_from(["x" * 129, "x" * 512, "x" * 513, "a\0b"]) | st.integers() | st.none()
    )
)
def test_a_list_of_keys_is_what_each_of_them_is(values: list[Any]) -> None:
    def outcome(read: Callable[[], list[str]]) -> tuple[str, object]:
        try:
            return "read", read()
        except Problem as problem:
            return "refused", problem.message

    assert outcome(lambda: keys.all_from_json(values, "entities")) == outcome(
        lambda: [keys.from_json(value, f"entities[{index}]") for index, value in enumerate(values)]
    )


def test_a_batch() -> None:
    found = batch.parse({"entities": ["a", 7, "a"], "features": ["share"], "format": "columns"}, SELECTOR)
    assert (found.entities, found.columns) == (["a", "7", "a"], True)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "entities"),
        ({"entities": []}, "entities"),
        ({"entities": "a"}, "entities"),
        ({"entities": ["a", True]}, r"entities\[1\]"),
        ({"entities": ["a", ""]}, r"entities\[1\]"),
        ({"entities": ["a", 1.5]}, r"entities\[1\]"),
        ({"entities": ["a"] * 1001}, "1001 given, at most 1000"),
        ({"entities": ["a"], "features": "share"}, "features"),
        ({"entities": ["a"], "features": []}, "features"),
        ({"entities": ["a"], "features": [1]}, "features"),
        ({"entities": ["a"], "format": "table"}, "format"),
        ({"entities": ["a"], "bounds": "true"}, "bounds"),
        ({"entities": ["a"], "featureset": 1}, "featureset"),
        ({"entities": ["a"], "entitys": 1}, "no field 'entitys'"),
    ],
)
def test_batches_with_mistakes(body: dict[str, Any], says: str) -> None:
    with pytest.raises(Problem, match=says) as caught:
        batch.parse(body, SELECTOR)
    assert caught.value.status == 400


@given(st.dictionaries(st.sampled_from(batch.FIELDS) | st.text(), JSON))
def test_any_batch_is_read_or_refused(body: dict[str, Any]) -> None:
    refusal = None
    try:
        batch.parse(body, SELECTOR)
    except Problem as problem:
        refusal = problem
    assert refusal is None or 400 <= refusal.status < 500


FEAST_FIELDS = ("entities", "features", "feature_service", "full_feature_names", "other")


@given(st.dictionaries(st.sampled_from(FEAST_FIELDS), JSON))
def test_any_feast_body_is_read_or_refused(body: dict[str, Any]) -> None:
    detail: Any = {"loc": ["body"]}
    refusal = None
    try:
        feast.parse(body, CATALOGUE)
    except feast.Invalid as error:
        detail = json.loads(error.body())["detail"][0]
    except Problem as problem:
        refusal = problem
    assert detail["loc"][0] == "body"
    assert refusal is None or refusal.status == 404


def test_feast_columns_keep_the_requested_order() -> None:
    body = {
        "features": ["user-orders:order_count_24h", "user-activity@v2:share", "user-activity:level"],
        "entities": {"user_id": ["a", 5], "ignored": [1, 2]},
    }
    found = feast.parse(body, CATALOGUE)
    assert [column.label for column in found.columns] == ["order_count_24h", "share", "level"]
    assert found.entities == {"user_id": ["a", "5"]}
    assert found.given == {"user_id": ["a", 5]}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"features": ["user-activity:share"]}, "entities|must be an object"),
        ({"features": ["user-activity:share"], "entities": {"user": ["a"]}}, "join key 'user_id' is missing"),
        ({"features": ["user-activity:share"], "entities": {"user_id": ["a"], "x": []}}, "same length"),
        ({"features": ["user-activity:share"], "entities": {"user_id": []}}, "1 to 1000 rows"),
        ({"features": ["user-activity:share"], "entities": {"user_id": [None]}}, "string or an integer"),
        ({"features": ["user-activity:shar"], "entities": {"user_id": ["a"]}}, "did you mean 'share'"),
        ({"features": ["share"], "entities": {"user_id": ["a"]}}, "view:feature"),
        ({"features": [], "entities": {"user_id": ["a"]}}, "at least one feature"),
        (
            {
                "features": ["user-activity:activity_count_24h", "user-orders:activity_count_24h"],
                "entities": {"user_id": ["a"]},
            },
            "comes twice",
        ),
    ],
)
def test_feast_mistakes_are_422(body: dict[str, Any], says: str) -> None:
    with pytest.raises(feast.Invalid, match=says):
        feast.parse(body, CATALOGUE)


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({"features": ["nope:share"]}, "FeatureViewNotFoundException"),
        ({"features": ["user-activity@v9:share"]}, "FeatureViewNotFoundException"),
        ({"feature_service": "nope"}, "FeatureServiceNotFoundException"),
    ],
)
def test_feast_unknown_names_are_404(body: dict[str, Any], name: str) -> None:
    with pytest.raises(Problem) as caught:
        feast.parse({**body, "entities": {"user_id": ["a"]}}, CATALOGUE)
    assert caught.value.status == 404
    assert json.loads(json.loads(feast.problem_body(caught.value)))["class"] == name


def test_an_error_without_a_near_miss_lists_what_there_is() -> None:
    problem = unknown("version", "x", ["v1", "v2"])
    assert json.loads(problem.body()) == {
        "error": {"code": "unknown_version", "message": "no version 'x'; there is 'v1', 'v2'"}
    }


def test_a_503_says_when_to_come_back() -> None:
    assert Problem(503, "store_down", "…").headers() == {"retry-after": "1"}


def test_the_catalogue_tells_what_a_feature_means() -> None:
    found = describe.details(CATALOGUE.find("user-activity"))
    assert found["entity"] == {"name": "user", "key": "user_id"}
    assert found["features"][0] == {
        "name": "activity_count_1h",
        "type": "integer",
        "default": None,
        "aggregate": "count",
        "window": "1h",
        "window_ms": 3_600_000,
        "hop_ms": 60_000,
    }
    share = next(feature for feature in found["features"] if feature["name"] == "share")
    assert share["reads"] == ["purchase_amount_24h", "activity_count_24h"]
    assert [one["name"] for one in describe.listing(CATALOGUE)["featuresets"]] == list(CATALOGUE.served)


def test_a_catalogue_refuses_what_it_cannot_tell_apart() -> None:
    with pytest.raises(ValueError, match="two manifests define"):
        catalogue(ACTIVITY, ACTIVITY)
    with pytest.raises(ValueError, match="no FeatureSet"):
        Catalogue(featuresets(), "test")


def test_a_slow_body_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.05)

    async def nothing_more() -> dict[str, Any]:
        await asyncio.sleep(5)
        return {"type": "http.request", "body": b"", "more_body": True}

    with pytest.raises(Problem) as caught:
        asyncio.run(bodies.read(nothing_more))
    assert (caught.value.status, caught.value.headers()) == (408, {"connection": "close"})
