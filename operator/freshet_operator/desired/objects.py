"""What all objects that the operator makes have in common."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from freshet_operator import names
from freshet_operator.model import Object


def canonical(value: Any) -> str:
    """JSON that is the same for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any, digits: int = 16) -> str:
    """The first hexadecimal digits of the SHA-256 of a value's canonical JSON."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:digits]


def child_metadata(
    resource: Object, name: str, revision: str | None = None, annotations: dict[str, str] | None = None
) -> Object:
    """Metadata of a child: in the FeatureSet's namespace, with its labels, owned by it.

    An owned object goes with its owner. That is for what can be made anew; data (topics, keys, tables) has no owner.
    """
    meta = resource["metadata"]
    found: Object = {
        "name": name,
        "namespace": meta["namespace"],
        "labels": names.labels(meta["name"], revision),
        "ownerReferences": [owner_reference(resource)],
    }
    if annotations:
        found["annotations"] = dict(annotations)
    return found


def owner_reference(resource: Object) -> Object:
    """A reference to the resource as the one controller of its children."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": resource.get("kind", "FeatureSet"),
        "name": resource["metadata"]["name"],
        "uid": resource["metadata"].get("uid", ""),
        "controller": True,
        "blockOwnerDeletion": True,
    }


def stamped(item: Object) -> Object:
    """The object with the HASH annotation: the digest of it without that annotation."""
    meta = item["metadata"]
    annotations = {**meta.get("annotations", {}), names.HASH: digest(item)}
    return {**item, "metadata": {**meta, "annotations": annotations}}
