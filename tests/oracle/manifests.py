"""Hypothesis strategy for manifests: any mix of aggregates, windows, inputs, defaults and expressions, as YAML text.

The text goes through the real loader, so what is tested is what a user's manifest means.
"""

from __future__ import annotations

from typing import Any

import yaml
from hypothesis import strategies as st

from freshet.spec.definition import AggregateFeature, FeatureSet
from freshet.spec.load import parse_featureset

FIELDS: dict[str, dict[str, Any]] = {
    "amount": {"type": "double"},
    "qty": {"type": "integer"},
    "kind": {"type": "string"},
    "flag": {"type": "boolean"},
    "note": {"type": "string"},
}
KINDS = ("buy", "view", "ünï'", "")

WINDOWS = ("1m", "90s", "5m", "61m", "1h", "6h", "24h", "1d", "7d", "90d")
GRANULARITY = {"1m": "1m", "90s": "15s", "5m": "1s", "61m": "5s", "1h": "1h", "6h": "15m", "24h": "5m", "7d": "1d"}
"""A hop for each window that is not the one it would get by itself."""

OF = (
    "amount",
    "amount",
    "qty",
    "amount * 2 - qty",
    "coalesce(amount, 0)",
    "amount / qty",
    "round(amount, 1)",
    "case when flag then amount else -qty end",
)
OF_ANY = ("kind", "note", "flag", "amount", "qty", "round(amount, 0)", "case when flag then kind end")
"""For aggregates that take more than numbers."""
WHERE = (
    None,
    None,
    "kind = 'buy'",
    "kind in ('buy', 'ünï''')",
    "flag",
    "not flag",
    "amount > 10",
    "amount is null",
    "kind <> 'buy' or amount between -5 and 5",
    "kind = 'never'",
    "lower(kind) like 'b%'",
    "length(kind || note) > 3",
)
VALUED = ("sum", "mean", "min", "max", "stddev", "variance", "first", "last", "trend")
ANY_VALUED = ("first", "last", "distinct", "mode", "last_n")
UNITS = ("second", "minute", "hour", "day")
GAPS = ("1s", "30s", "30m", "1d")
HALF_LIVES = ("1s", "10m", "1d", "365d")
DEFAULTED = ("mean", "min", "max", "stddev", "first", "last", "trend", "time_since_first", "time_since_last")

NUMBER_EXPRESSIONS = (
    "{a} / nullif({b}, 0)",
    "coalesce({a}, 0) - coalesce({b}, 0)",
    "least(100, 12 * ln(1 + abs({a})) + 25 * coalesce({b}, 0))",
    "greatest({a}, {b}, 3)",
    "round({a}, 2)",
    "sqrt({a})",
    "exp({a})",
    "ln({a})",
    "{a} % {b}",
    "-{a} * {b}",
    "case when {a} > {b} then {a} when {b} is null then 0 else {b} end",
    "log10(abs({a}) + 1)",
    "pow(abs({a}), 0.5)",
    "floor({a}) + ceil({b})",
    "sign({a})",
    "if({a} > {b}, {a})",
    "date_diff('day', first_seen, last_seen)",
    "length(user_id) + cast({a} > 0 as integer)",
    "extract(hour from now())",
    "extract(dow from last_seen)",
    "extract(epoch from now()) - extract(epoch from first_seen)",
)
OTHER_EXPRESSIONS = (
    "{a} > {b}",
    "{a} in (0, 1, 2) or {b} is null",
    "not ({a} between 0 and {b})",
    "case when {a} >= {b} then 'up' when {a} is null then user_id else 'down' end",
    "now() > last_seen",
    "user_id = '0'",
    "upper(trim(user_id)) like 'USER%'",
    "substr(user_id, 1, 3) || '-' || cast({a} is null as varchar)",
)


@st.composite
def aggregates(draw: st.DrawFn, name: str, aggregate: str, windows: list[str]) -> dict[str, Any]:
    """One aggregate feature; `windows` are those it may have."""
    feature: dict[str, Any] = {"name": name, "aggregate": aggregate}
    where = draw(st.sampled_from(WHERE))
    if where is not None:
        feature["where"] = where
    if aggregate in (*VALUED, *ANY_VALUED, "ewma", "percentile"):
        feature["of"] = draw(st.sampled_from(OF + OF_ANY if aggregate in ANY_VALUED else OF))
    if aggregate in (*VALUED, *ANY_VALUED, "count", "rate", "percentile"):
        _draw_windows(draw, feature, windows)
    if aggregate in ("rate", "trend", "time_since_first", "time_since_last", "session_duration"):
        feature["unit"] = draw(st.sampled_from(UNITS))
    if aggregate.startswith("session"):
        feature["gap"] = draw(st.sampled_from(GAPS))
    if aggregate == "ewma":
        feature["halfLife"] = draw(st.sampled_from(HALF_LIVES))
    if aggregate == "last_n":
        feature["size"] = draw(st.sampled_from((1, 2, 5, 100)))
    if aggregate == "percentile":
        feature["percentile"] = draw(st.sampled_from((0, 1, 50, 90, 99.9, 100)))
    if aggregate in DEFAULTED and feature.get("of") not in OF_ANY and draw(st.integers(0, 4)) == 0:
        feature["default"] = draw(st.sampled_from((0, -1, 1000)))
    return feature


def _draw_windows(draw: st.DrawFn, feature: dict[str, Any], windows: list[str]) -> None:
    if feature["aggregate"] != "rate" and draw(st.integers(0, 4)) == 0:
        return
    chosen = draw(st.lists(st.sampled_from(windows), min_size=1, max_size=3, unique=True))
    if "24h" in chosen and "1d" in chosen:
        chosen.remove("1d")
    if chosen[0] in GRANULARITY and draw(st.integers(0, 4)) == 0:
        feature["granularity"] = GRANULARITY[chosen[0]]
        chosen = chosen[:1]
    if feature["aggregate"] != "rate" and draw(st.integers(0, 4)) == 0:
        chosen.append("lifetime")
    feature["windows"] = chosen


EVERY = (*VALUED, "distinct", "distinct", "mode", "percentile", "last_n", "count", "rate", "ewma",
         "time_since_first", "time_since_last", "session_active", "session_count", "session_duration")  # fmt: skip


@st.composite
def manifests(draw: st.DrawFn, *, most: int = 12) -> str:
    """The text of a manifest with up to `most` aggregate features and some expressions over them."""
    windows = draw(st.lists(st.sampled_from(WINDOWS), min_size=1, max_size=4, unique=True))
    chosen = draw(st.lists(st.sampled_from(EVERY), min_size=1, max_size=most))
    features = [draw(aggregates(f"f{i}", aggregate, windows)) for i, aggregate in enumerate(chosen)]
    spec: dict[str, Any] = {
        "version": "v1",
        "entity": {"name": "user", "key": "user_id"},
        "timezone": draw(st.sampled_from(("UTC", "UTC", "Europe/Berlin", "Asia/Kolkata"))),
        "source": {
            "deduplicate": draw(st.sampled_from(("0s", "1s", "1m", "10m", "10m", "24h"))),
            "maxFutureSkew": draw(st.sampled_from(("0s", "5m", "5m", "24h"))),
            "fields": FIELDS,
        },
        "limits": {"entityBytes": "8Mi"},  # the most: a smaller limit would refuse many of these, or blur their values
        "features": features,
    }
    if draw(st.booleans()):
        spec["features"] = features + draw(_expressions(parse_featureset(_text(spec))))
    return _text(spec)


@st.composite
def _expressions(draw: st.DrawFn, featureset: FeatureSet) -> list[dict[str, Any]]:
    aggregated = [f for f in featureset.definition.features if isinstance(f, AggregateFeature)]
    numbers = [f.name for f in aggregated if f.type.is_number]
    out: list[dict[str, Any]] = []
    for i in range(draw(st.integers(1, 5))):
        texts = NUMBER_EXPRESSIONS + OTHER_EXPRESSIONS if numbers else ("now() > last_seen", "user_id = '0'")
        text = draw(st.sampled_from(texts))
        names = {p: draw(st.sampled_from(numbers)) for p in ("a", "b") if numbers}
        feature = {"name": f"e{i}", "expression": text.format(**names)}
        if text in NUMBER_EXPRESSIONS:
            numbers = [*numbers, f"e{i}"]
            if not text.startswith("extract(hour") and draw(st.integers(0, 5)) == 0:
                feature["default"] = draw(st.sampled_from((0, 7)))
        out.append(feature)
    order = draw(st.permutations(out))
    return list(order)


def _text(spec: dict[str, Any]) -> str:
    manifest = {"apiVersion": "freshet.dev/v1alpha1", "kind": "FeatureSet", "metadata": {"name": "drawn"}, "spec": spec}
    return yaml.safe_dump(manifest, sort_keys=False, allow_unicode=True)
