"""Which features a question means, and how mistakes in it are answered."""

from __future__ import annotations

import pytest

from freshet.serving.problems import Problem
from freshet.serving.selection import MAX_QUERY_BYTES, Selection, Selector
from tests.unit.serving.build import ACTIVITY, catalogue


def labels(selection: Selection) -> list[str]:
    return [label for part in selection.parts for label in part.labels]


def ask(query: str, feature: str | None = None) -> Selection:
    return Selector(catalogue()).from_query(query.encode(), feature)


def refused(query: str, feature: str | None = None) -> Problem:
    with pytest.raises(Problem) as caught:
        ask(query, feature)
    return caught.value


def test_all_featuresets_of_the_first_kind_are_merged_and_a_shared_name_is_qualified() -> None:
    found = ask("")
    assert found.key == "user_id"
    assert labels(found) == [
        "activity_count_1h",
        "user-activity.activity_count_24h",
        "purchase_amount_24h",
        "amount_mean_24h",
        "is_active_session",
        "share",
        "level",
        "user-orders.activity_count_24h",
        "order_count_24h",
    ]


def test_one_featureset_needs_no_qualified_names() -> None:
    assert labels(ask("featureset=user-orders")) == ["activity_count_24h", "order_count_24h"]


def test_another_entity_kind() -> None:
    found = ask("entity=card")
    assert (found.key, labels(found)) == ("card_id", ["card_count_24h"])


def test_a_version_selects_the_featuresets_that_have_it() -> None:
    assert labels(ask("version=v1")) == ["activity_count_24h", "order_count_24h"]


def test_features_come_in_the_order_asked_and_once() -> None:
    assert labels(ask("features=share,%20activity_count_1h,share")) == ["share", "activity_count_1h"]


def test_a_qualified_name_is_understood_everywhere() -> None:
    assert labels(ask("features=user-orders.order_count_24h,user-activity.activity_count_24h")) == [
        "order_count_24h",
        "user-activity.activity_count_24h",
    ]


def test_an_equal_question_is_the_same_object() -> None:
    selector = Selector(catalogue(ACTIVITY))
    assert selector.from_query(b"bounds=true", None) is selector.from_query(b"bounds=true", None)


@pytest.mark.parametrize(
    ("query", "bounds"), [("", False), ("bounds", True), ("bounds=1", True), ("bounds=FALSE", False)]
)
def test_bounds(query: str, bounds: bool) -> None:
    assert ask(query).bounds is bounds


@pytest.mark.parametrize(
    ("query", "code", "near"),
    [
        ("features=activity_cuont_1h", "unknown_feature", "activity_count_1h"),
        ("featureset=user-activty", "unknown_featureset", "user-activity"),
        ("featureset=user-activity&version=v3", "unknown_version", "v2"),
        ("entity=usr", "unknown_entity_kind", "user"),
    ],
)
def test_unknown_names_are_404_with_near_misses(query: str, code: str, near: str) -> None:
    problem = refused(query)
    assert (problem.status, problem.code) == (404, code)
    assert near in problem.did_you_mean
    assert near in problem.message


def test_a_name_of_several_featuresets_must_be_qualified() -> None:
    problem = refused("", "activity_count_24h")
    assert (problem.status, problem.code) == (400, "ambiguous_feature")
    assert problem.did_you_mean == ("user-activity.activity_count_24h", "user-orders.activity_count_24h")


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("feature=share", 400, "unknown_parameter"),
        ("features=share&features=level", 400, "bad_parameter"),
        ("features=%ff", 400, "bad_query"),
        ("features=", 404, "unknown_feature"),
        ("bounds=perhaps", 400, "bad_parameter"),
        ("features=" + "x" * MAX_QUERY_BYTES, 414, "query_too_long"),
        ("&".join(f"a{i}=1" for i in range(101)), 400, "bad_query"),
    ],
)
def test_other_mistakes(query: str, status: int, code: str) -> None:
    problem = refused(query)
    assert (problem.status, problem.code) == (status, code)


def test_a_feature_in_the_path_excludes_the_parameter() -> None:
    assert refused("features=share", "share").code == "bad_parameter"
