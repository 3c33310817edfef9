"""Schemas of `status`: what the operator writes, and `kubectl get` shows."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

_INT: Schema = {"type": "integer", "format": "int64"}


def _text(most: int, description: str = "") -> Schema:
    return {**({"description": description} if description else {}), "type": "string", "maxLength": most}


def _object(properties: Schema, description: str = "", required: list[str] | None = None) -> Schema:
    found: Schema = {**({"description": description} if description else {}), "type": "object"}
    if required:
        found["required"] = required
    return {**found, "properties": properties}


def _conditions() -> Schema:
    condition = _object(
        {
            "type": _text(316),
            "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
            "reason": _text(1024, "One word for programs."),
            "message": _text(32768, "A sentence for people."),
            "lastTransitionTime": {"type": "string", "format": "date-time", "maxLength": 64},
            "observedGeneration": _INT,
        },
        required=["type", "status"],
    )
    return {
        "type": "array",
        "maxItems": 32,
        "items": condition,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
    }


def _list(item: Schema, most: int) -> Schema:
    return {"type": "array", "maxItems": most, "items": item, "x-kubernetes-list-type": "atomic"}


def experiment_status() -> Schema:
    """Phase, reason and conditions."""
    return _object(
        {
            "observedGeneration": {**_INT, "description": "Generation that this status is about."},
            "phase": _text(64),
            "reason": _text(1024),
            "message": _text(32768),
            "conditions": _conditions(),
        },
        "Written by the operator.",
    )


def featureset_status() -> Schema:
    """All that is known of one FeatureSet."""
    version = {
        "version": _text(64),
        "revision": _text(64),
        "state": _text(64),
        "replicas": _INT,
        "readyReplicas": _INT,
    }
    topic = {"name": _text(249), "partitions": _INT, "id": _text(64), "managed": {"type": "boolean"}}
    common = experiment_status()["properties"]
    return _object(
        {
            "observedGeneration": common["observedGeneration"],
            "phase": _text(
                64,
                "Pending, Provisioning, CatchingUp, Serving, Degraded, Suspended, Paused, Invalid or Deleting; for"
                " people, programs read conditions.",
            ),
            "version": _text(64, "The spec's version."),
            "serving": _object({"version": _text(64), "revision": _text(64)}, "What is served."),
            "lastValid": _object(
                {"name": _text(253), "generation": _INT}, "The ControllerRevision of the last valid spec."
            ),
            "versions": _list(_object(version), 32),
            "topics": _list(_object(topic), 32),
            "lag": {**_INT, "description": "Events of the source topic that are not processed yet."},
            "freshness": _text(64, "From event to readable value, 99th percentile."),
            "replicas": {**_INT, "description": "Processors that are ready."},
            "scaling": {
                "type": "object",
                "description": "The autoscaler's memory.",
                "x-kubernetes-preserve-unknown-fields": True,
            },
            "reason": _text(1024, "Of the most important condition that is not as it should be."),
            "message": _text(32768, "The sentence to the reason."),
            "conditions": common["conditions"],
        },
        "Written by the operator.",
    )


def _column(name: str, path: str, kind: str = "string", description: str = "", wide: bool = False) -> Schema:
    found: Schema = {"name": name, "type": kind, "jsonPath": path}
    if description:
        found["description"] = description
    return {**found, "priority": 1} if wide else found


_READY = '.status.conditions[?(@.type=="Ready")].status'

FEATURESET_COLUMNS = [
    _column("Version", ".spec.version"),
    _column("Serving", ".status.serving.version", description="Version that is served."),
    _column("Ready", _READY),
    _column("Phase", ".status.phase"),
    _column("Lag", ".status.lag", "integer", "Events that are not processed yet."),
    _column("Freshness", ".status.freshness"),
    _column("Reason", ".status.reason"),
    _column("Age", ".metadata.creationTimestamp", "date"),
    _column("Replicas", ".status.replicas", "integer", wide=True),
    _column("Revision", ".status.serving.revision", wide=True),
    _column("Topic", ".spec.source.topic", wide=True),
]

EXPERIMENT_COLUMNS = [
    _column("FeatureSet", ".spec.featureSet"),
    _column("Traffic", ".spec.traffic"),
    _column("Ready", _READY),
    _column("Phase", ".status.phase"),
    _column("Reason", ".status.reason"),
    _column("Age", ".metadata.creationTimestamp", "date"),
]
