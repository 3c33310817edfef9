"""What a manifest means once it is compiled."""

from __future__ import annotations

from pathlib import Path

import pytest

from freshet.spec.definition import Aggregate, AggregateFeature, ExpressionFeature, Field, Input, Source, Window
from freshet.spec.expr.tree import Call, Literal, Name, Type, calls, names
from freshet.spec.load import load_featuresets, parse_featureset
from freshet.spec.problems import ManifestError
from tests.unit.spec.manifests import SMALL, bent, complaints, with_features

HOUR, DAY = 3_600_000, 86_400_000
EXAMPLE = Path(__file__).parents[3] / "examples" / "user-activity" / "featureset.yaml"


def test_the_small_manifest() -> None:
    featureset = parse_featureset(SMALL)
    definition = featureset.definition
    buys = Call("=", (Name("event_type", Type.TEXT), Literal("buy", Type.TEXT)), Type.BOOLEAN)
    assert (featureset.name, featureset.version) == ("demo", "v1")
    assert featureset.source == Source("raw-events", 12, 3, 8 * DAY, True, "murmur2")
    assert (featureset.output_topic, featureset.entity_ttl_ms) == (None, None)
    assert (definition.entity, definition.key, definition.timezone) == ("user", "user_id", "UTC")
    assert (definition.timestamp, definition.event_id) == ("timestamp", "event_id")
    assert (definition.deduplicate_ms, definition.max_future_skew_ms) == (600_000, 300_000)
    assert definition.fields == (
        Field("event_type", Type.TEXT, ("event_type",), required=True),
        Field("amount", Type.DOUBLE, ("amount",), minimum=0),
    )
    assert definition.features == (
        AggregateFeature("n_1h", "n", Aggregate.COUNT, Input(None, None), Window(HOUR, 60_000, "1h"), Type.INTEGER),
        AggregateFeature("n_24h", "n", Aggregate.COUNT, Input(None, None), Window(DAY, 900_000, "24h"), Type.INTEGER),
        AggregateFeature("total", "total", Aggregate.SUM, Input(Name("amount", Type.DOUBLE), buys), None, Type.DOUBLE),
        ExpressionFeature("ratio", definition.features[3].expr, Type.DOUBLE),  # type: ignore[union-attr]
    )
    assert definition.evaluation == (0, 1, 2, 3)
    assert definition.windows == (Window(HOUR, 60_000, "1h"), Window(DAY, 900_000, "24h"))
    assert definition.has_lifetime


def test_equal_inputs_are_one_object() -> None:
    featureset = with_features(
        "name: a, aggregate: sum, of: amount * 2, windows: [1h], where: \"event_type in ('x', 'y')\"",
        "name: b, aggregate: mean, of: 'amount*2.0', windows: [24h], where: \"(event_type) IN ('x','y')\"",
        "name: c, aggregate: mean, of: amount, windows: [24h]",
    )
    a, b, c = featureset.definition.features
    assert isinstance(a, AggregateFeature)
    assert isinstance(b, AggregateFeature)
    assert isinstance(c, AggregateFeature)
    assert a.input is b.input
    assert a.input != c.input


def test_an_expression_comes_after_what_it_reads() -> None:
    definition = with_features(
        "name: c, expression: b + a",
        "name: b, expression: a * n",
        "name: a, expression: n + 1",
        "name: n, aggregate: count",
    ).definition
    assert [definition.features[i].name for i in definition.evaluation] == ["n", "a", "b", "c"]
    assert [feature.name for feature in definition.features] == ["c", "b", "a", "n"]


@pytest.mark.parametrize(
    ("feature", "name", "kind"),
    [
        ("name: x, aggregate: count", "x", Type.INTEGER),
        ("name: x, aggregate: count, windows: [lifetime]", "x_lifetime", Type.INTEGER),
        ("name: x, aggregate: count, windows: [90s]", "x_90s", Type.INTEGER),
        ("name: x, aggregate: sum, of: amount", "x", Type.DOUBLE),
        ("name: x, aggregate: sum, of: 'case when amount > 0 then whole end'", "x", Type.INTEGER),
        ("name: x, aggregate: max, of: whole", "x", Type.INTEGER),
        ("name: x, aggregate: mean, of: whole", "x", Type.DOUBLE),
        ("name: x, aggregate: max, of: whole + 1", "x", Type.DOUBLE),
        ("name: x, aggregate: rate, windows: [1h], unit: minute", "x_1h", Type.DOUBLE),
        ("name: x, aggregate: session_active, gap: 30m, default: false", "x", Type.BOOLEAN),
        ("name: x, aggregate: session_count, gap: 30m, default: 0", "x", Type.INTEGER),
        ("name: x, aggregate: session_duration, gap: 30m, unit: hour", "x", Type.DOUBLE),
        ("name: x, aggregate: time_since_last, unit: day, default: 1e6", "x", Type.DOUBLE),
        ("name: x, aggregate: ewma, of: amount, halfLife: 1h", "x", Type.DOUBLE),
        ("name: x, expression: \"case when n > 3 then 'a' end\", default: b", "x", Type.TEXT),
        ("name: x, expression: n > 3 and user_id <> 'robot'", "x", Type.BOOLEAN),
        ("name: x, expression: 'coalesce(n, 0)'", "x", Type.INTEGER),
        ("name: x, expression: 'coalesce(n, 0.5)'", "x", Type.DOUBLE),
        ("name: x, expression: n + 1", "x", Type.DOUBLE),
        ("name: x, expression: extract(doy from first_seen)", "x", Type.INTEGER),
        ("name: x, expression: extract(epoch from now()) - extract(epoch from last_seen)", "x", Type.DOUBLE),
    ],
)
def test_name_and_type_of_a_value(feature: str, name: str, kind: Type) -> None:
    text = bent("amount: {type: double, minimum: 0}", "amount: {type: double}\n      whole: {type: integer}")
    text = text[: text.index("    - {name: n")] + f"    - {{{feature}}}\n    - {{name: n, aggregate: count}}\n"
    found = parse_featureset(text).definition.features[0]
    assert (found.name, found.type) == (name, kind)


def test_units_gaps_and_half_lives_are_milliseconds() -> None:
    features = with_features(
        "name: a, aggregate: time_since_last",
        "name: b, aggregate: time_since_last, unit: day",
        "name: c, aggregate: session_count, gap: 30m",
        "name: d, aggregate: ewma, of: amount, halfLife: 2h",
    ).definition.features
    assert [(f.unit_ms, f.gap_ms, f.half_life_ms) for f in features if isinstance(f, AggregateFeature)] == [
        (1_000, 0, 0),
        (DAY, 0, 0),
        (1_000, 1_800_000, 0),
        (1_000, 0, 7_200_000),
    ]


REVISION = parse_featureset(SMALL).definition.revision


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("version: v1", "version: v2"),
        ("version: v1", "version: v1\n  output: {every: 5s}"),
        ("version: v1", "version: v1\n  history: {events: 60d}\n  drift: {threshold: 0.1}\n  deletionPolicy: Delete"),
        ("retention: 8d", "retention: 30d"),
        ("retention: 8d", "deduplicate: 10m\n    timestamp: timestamp"),
        ("total / nullif(n_1h, 0)", "(total) / NULLIF( n_1h , 0.0 ) -- the same"),
        ("name: demo", "name: other"),
    ],
)
def test_what_is_not_part_of_the_definition_leaves_the_revision(old: str, new: str) -> None:
    assert parse_featureset(bent(old, new)).definition.revision == REVISION


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("name: user, key: user_id", "name: account, key: user_id"),
        ("retention: 8d", "deduplicate: 9m"),
        ("retention: 8d", "timestamp: at"),
        ("retention: 8d", "partitions: 6"),
        ("retention: 8d", "topic: other-events"),
        ("retention: 8d", "partitioner: consistent"),
        ("version: v1", "version: v1\n  timezone: Europe/Berlin"),
        ("minimum: 0", "minimum: 1"),
        ("'buy'", "'bought'"),
        ("[1h, 24h]", "[1h, 24h], granularity: 5m"),
        ("[1h, 24h]", "[24h, 1h]"),
        ("n_1h, 0", "n_1h, 1"),
        ('0)"}', '0)", default: 0}'),
    ],
)
def test_what_decides_values_changes_the_revision(old: str, new: str) -> None:
    assert parse_featureset(bent(old, new)).definition.revision != REVISION


def test_revisions_stay_what_they_are() -> None:
    """A state is found by its revision: whoever changes this changes every state's name."""
    assert REVISION == "cccea381db"


def test_retention_follows_the_windows_where_it_is_not_said() -> None:
    text = bent("    retention: 8d\n", "")
    assert parse_featureset(text).source.retention_ms == 8 * DAY
    longer = parse_featureset(text.replace("[1h, 24h]", "[1h, 30d]")).source.retention_ms
    assert longer == 30 * DAY + 12 * HOUR + 600_000 + DAY


def test_the_size_of_a_state_is_bounded() -> None:
    lines = "".join(f"    - {{name: c{i}, aggregate: sum, of: amount + {i}, windows: [90d]}}\n" for i in range(500))
    head = SMALL[: SMALL.index("    - {name: n")].replace("8d", "100d")
    [complaint] = complaints(head + lines)
    assert complaint.startswith("12: spec.features: could make the state of one entity 1078 KiB large, 92 tiles of 500")


def test_the_number_of_values_and_windows_is_bounded() -> None:
    lines = "".join(
        f"    - {{name: c{i}, aggregate: count, windows: [{i + 1}h, {i + 1}m, lifetime]}}\n" for i in range(200)
    )
    head = SMALL[: SMALL.index("    - {name: n")].replace("8d", "100d")
    found = complaints(head + lines)
    assert any("give 600 values" in line for line in found)
    assert any("different windows; at most 16" in line for line in found)


def test_the_example() -> None:
    [featureset] = load_featuresets([EXAMPLE])
    features = {feature.name: feature for feature in featureset.definition.features}
    assert len(features) >= 20
    assert {f"activity_count_{w}" for w in ("1h", "6h", "24h", "7d")} <= features.keys()
    sample = {"purchase_count_24h", "purchase_amount_24h", "minutes_since_purchase", "is_active_session", "hour_of_day"}
    assert sample | {"purchase_rate_24h", "engagement_score"} <= features.keys()
    score = features["engagement_score"]
    assert isinstance(score, ExpressionFeature)
    assert list(names(score.expr)) == ["activity_count_24h", "purchase_rate_24h"]
    assert calls(score.expr, "ln")
    assert featureset.output_topic == "feature-events"


def test_the_standard_windows_have_room_for_every_aggregate() -> None:
    """What a user writes first must not be refused for its worst case."""
    windows = "windows: [1h, 6h, 24h, 7d, lifetime]"
    with_features(
        f"name: a, aggregate: percentile, percentile: 95, of: amount, {windows}",
        f"name: b, aggregate: percentile, percentile: 50, of: amount, {windows}",
        f"name: c, aggregate: distinct, of: event_type, {windows}",
        f"name: d, aggregate: mode, of: event_type, {windows}",
        f"name: e, aggregate: last_n, size: 100, of: event_type, {windows}",
    )
    with pytest.raises(ManifestError, match="KiB of one entity for distinct, mode, percentile"):
        with_features(
            *(
                f"name: x{i}, aggregate: percentile, percentile: 95, of: amount + {i}, windows: [1h], granularity: 1s"
                for i in range(9)
            )
        )
