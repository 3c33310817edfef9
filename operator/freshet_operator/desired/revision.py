"""The whole valid spec, kept: what is repaired and served while the resource holds something else."""

from __future__ import annotations

from freshet_operator.desired.objects import child_metadata, digest
from freshet_operator.model import Object

KEPT = 5
"""Newest specs that are kept."""


def controller_revision(resource: Object) -> Object:
    """The ControllerRevision of this spec; its name is made of the spec, its number is the generation."""
    meta = resource["metadata"]
    name = f"{meta['name']}-{digest(resource['spec'], 10)}"
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": child_metadata(resource, name),
        "revision": int(meta.get("generation", 0)),
        "data": {"spec": resource["spec"]},
    }
