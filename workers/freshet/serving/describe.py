"""The catalogue as JSON: what is served, and what each feature means."""

from __future__ import annotations

from typing import Any

from freshet.serving.catalogue import Catalogue, Served
from freshet.spec.definition import Aggregate, ExpressionFeature, Feature
from freshet.spec.expr.tree import names

_WITH_UNIT = (
    Aggregate.RATE,
    Aggregate.TREND,
    Aggregate.TIME_SINCE_FIRST,
    Aggregate.TIME_SINCE_LAST,
    Aggregate.SESSION_DURATION,
)


def listing(catalogue: Catalogue) -> dict[str, Any]:
    """The answer of `GET /featuresets`."""
    return {"featuresets": [_summary(served) for served in catalogue.served.values()]}


def details(served: Served) -> dict[str, Any]:
    """The answer of `GET /featuresets/{name}`."""
    return {**_summary(served), "features": [_feature(feature) for feature in served.definition.features]}


def _summary(served: Served) -> dict[str, Any]:
    definition, source = served.definition, served.feature_set.source
    return {
        "name": served.name,
        "namespace": served.namespace,
        "version": served.version,
        "revision": definition.revision,
        "entity": {"name": definition.entity, "key": definition.key},
        "source": {
            "topic": source.topic,
            "partitions": source.partitions,
            **({"origin": source.origin} if source.origin else {}),
        },
        "timezone": definition.timezone,
        "feature_count": len(definition.features),
    }


def _feature(feature: Feature) -> dict[str, Any]:
    """Times are in ms; `unit_ms` is that of the value or of the rate."""
    found: dict[str, Any] = {"name": feature.name, "type": feature.type.value, "default": feature.default}
    if isinstance(feature, ExpressionFeature):
        return {**found, "reads": list(dict.fromkeys(names(feature.expr)))}
    window = feature.window
    found["aggregate"] = feature.aggregate.value
    found["window"] = "lifetime" if window is None else window.text
    if window is not None:
        found["window_ms"], found["hop_ms"] = window.length_ms, window.hop_ms
    if feature.aggregate in _WITH_UNIT:
        found["unit_ms"] = feature.unit_ms
    if feature.aggregate.value.startswith("session_"):
        found["gap_ms"] = feature.gap_ms
    if feature.aggregate is Aggregate.EWMA:
        found["half_life_ms"] = feature.half_life_ms
    return found
