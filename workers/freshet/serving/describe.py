"""The catalogue as JSON: what is served, and what each feature means."""

from __future__ import annotations

from typing import Any

from freshet.serving.catalogue import Catalogue, Served
from freshet.spec.definition import AggregateFeature, Feature


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
        "version": served.version,
        "revision": definition.revision,
        "entity": {"name": definition.entity, "key": definition.key},
        "source": {"topic": source.topic, "partitions": source.partitions},
        "timezone": definition.timezone,
        "feature_count": len(definition.features),
    }


def _feature(feature: Feature) -> dict[str, Any]:
    found: dict[str, Any] = {"name": feature.name, "type": feature.type.value, "default": feature.default}
    if isinstance(feature, AggregateFeature):
        found["aggregate"] = feature.aggregate.value
        window = feature.window
        found["window"] = None if window is None else window.text
        if window is not None:
            found["window_ms"], found["hop_ms"] = window.length_ms, window.hop_ms
    return found
