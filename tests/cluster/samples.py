"""FeatureSets for tests: small, valid, each with topics of its own."""

from __future__ import annotations

import copy
from typing import Any

from tests.cluster.api import Object


def featureset(namespace: str, name: str, topic: str, **spec: Any) -> Object:
    """A FeatureSet that reads `topic` and writes `<topic>-out`. `spec` replaces parts, one level deep into mappings."""
    obj = {
        "apiVersion": "freshet.dev/v1alpha1",
        "kind": "FeatureSet",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "version": "v1",
            "entity": {"name": "user", "key": "user_id"},
            "source": {
                "topic": topic,
                "partitions": 2,
                "replication": 1,
                "retention": "8d",
                "fields": {"kind": {"type": "string"}, "amount": {"type": "double"}},
            },
            "features": [
                {"name": "clicks", "aggregate": "count", "windows": ["1h", "24h"]},
                {"name": "spent", "aggregate": "sum", "of": "amount", "windows": ["24h"]},
                {"name": "ratio", "expression": "spent_24h / nullif(clicks_24h, 0)"},
            ],
            "output": {"topic": f"{topic}-out", "every": "1s"},
            "processor": {"minReplicas": 1, "maxReplicas": 2},
        },
    }
    return changed(obj, **spec)


def changed(obj: Object, **spec: Any) -> Object:
    """The same with parts of its spec replaced, one level deep into mappings; None removes a part."""
    new = copy.deepcopy(obj)
    for name, value in spec.items():
        if value is None:
            new["spec"].pop(name, None)
        elif isinstance(value, dict) and isinstance(new["spec"].get(name), dict):
            new["spec"][name].update(value)
        else:
            new["spec"][name] = value
    return new


def typo(obj: Object) -> Object:
    """The same with an expression that names an unknown feature: CEL lets it pass, the validator does not."""
    features = [*copy.deepcopy(obj["spec"]["features"])]
    features[-1]["expression"] = "spnet_24h / nullif(clicks_24h, 0)"
    return changed(obj, features=features, version="v2")


def redefined(obj: Object) -> Object:
    """The same with one more feature: another definition, which needs another version."""
    hits = {"name": "hits", "aggregate": "count", "windows": ["6h"]}
    return changed(obj, features=[*obj["spec"]["features"], hits], version="v2")
