"""FeatureSets, settings and observations for tests of the pure parts."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import yaml

from freshet_operator.model import KafkaSeen, Object, Observed, ServingSeen, TopicSeen
from freshet_operator.settings import ProcessorTemplate, Settings

NOW = 1_767_609_000_000

_MANIFEST = """
apiVersion: freshet.dev/v1alpha1
kind: FeatureSet
metadata:
  name: clicks
  namespace: shop
  uid: 1f0e3dad-9990-4345-b743-9f8ffabdffc4
  generation: 1
  resourceVersion: "17"
  creationTimestamp: "2026-01-01T00:00:00Z"
spec:
  version: v1
  entity: {name: user, key: user_id}
  source: {topic: clicks, partitions: 6, replication: 1}
  features:
    - {name: clicks, aggregate: count, windows: [1h, 24h]}
  output: {topic: click-features}
  processor: {minReplicas: 1, maxReplicas: 4, targetLag: 1000}
"""


def featureset(spec: Object | None = None, **metadata: Any) -> Object:
    """A FeatureSet as the API server has it; `spec` is put over its spec, None removes a field."""
    found: Object = yaml.safe_load(_MANIFEST)
    found["metadata"].update(metadata)
    for name, value in (spec or {}).items():
        if value is None:
            found["spec"].pop(name, None)
        else:
            found["spec"][name] = value
    return found


def changed_definition() -> Object:
    """Fields of a spec with another revision."""
    return {"version": "v2", "features": [{"name": "clicks", "aggregate": "count", "windows": ["2h"]}]}


def edited(resource: Object, spec: Object) -> Object:
    """The resource after `kubectl apply` of other fields of its spec."""
    found = copy.deepcopy(resource)
    found["spec"].update(spec)
    found["metadata"]["generation"] += 1
    return found


def settings(**template: Any) -> Settings:
    """Of an installation in namespace freshet."""
    given: dict[str, Any] = {
        "image": "freshet/workers:1.0",
        "kafka": "kafka:9092",
        "secret": "freshet-store",
        "operator_namespace": "freshet",
        **template,
    }
    return Settings(
        processor=ProcessorTemplate(**given), kafka="kafka:9092", own_namespace="freshet", identity="operator-1"
    )


def topic_seen(name: str, **changes: Any) -> TopicSeen:
    """A topic as this FeatureSet wants it."""
    return replace(TopicSeen(name, 6, f"id-{name}", "LogAppendTime", 691_200_000), **changes)


def topics_seen() -> dict[str, TopicSeen]:
    """All its topics."""
    return {name: topic_seen(name) for name in ("clicks", "click-features", "dead-letter-queue")}


def observed(resource: Object, **changes: Any) -> Observed:
    """The FeatureSet in an empty cluster, with its topics."""
    base = Observed(resource, (), (), KafkaSeen(topics_seen(), 0), (), ServingSeen({}, None, {}), None, {})
    return replace(base, **changes)


def conditions(status: Object) -> dict[str, tuple[str, str]]:
    """type → (status, reason)."""
    return {one["type"]: (one["status"], one["reason"]) for one in status["conditions"]}


def message(status: Object, type: str) -> str:
    """The sentence of a condition."""
    return next(str(one["message"]) for one in status["conditions"] if one["type"] == type)
