"""The end state of a cluster in a form that two namespaces can be compared by."""

from __future__ import annotations

import base64
import difflib
import gzip
import json
from typing import Any

from tests.cluster.api import Api, Object

SELECTOR = "app.kubernetes.io/managed-by=freshet-operator"
CHILD_KINDS = (
    "ServiceAccount",
    "ConfigMap",
    "Deployment",
    "PodDisruptionBudget",
    "NetworkPolicy",
    "ControllerRevision",
    "Job",
)
SERVING_CONFIG = "freshet-featuresets"
_BY_THE_SERVER = {"uid", "resourceVersion", "creationTimestamp", "managedFields", "generation", "selfLink"}
_HASHES = {"freshet.dev/desired-hash", "freshet.dev/config-hash"}
"""Hashes of contents that name the namespace; what they are of is compared itself."""


def children(api: Api, namespace: str, featureset: str = "") -> list[Object]:
    """The live children in a namespace, of one FeatureSet or of all."""
    selector = f"{SELECTOR},freshet.dev/featureset={featureset}" if featureset else SELECTOR
    found = [obj for kind in CHILD_KINDS for obj in api.all(kind, namespace, selector)]
    return [obj for obj in found if obj["metadata"]["name"] != SERVING_CONFIG]


def child_names(api: Api, namespace: str, featureset: str = "") -> set[tuple[str, str]]:
    """(kind, name) of the live children that are not being deleted."""
    found = children(api, namespace, featureset)
    return {(o["kind"], o["metadata"]["name"]) for o in found if "deletionTimestamp" not in o["metadata"]}


def serving_config(api: Api, namespace: str) -> Any:
    """What the serving ConfigMap says; None: there is none."""
    found = api.get("ConfigMap", namespace, SERVING_CONFIG)
    if found is None:
        return None
    return json.loads(gzip.decompress(base64.b64decode(found["binaryData"]["featuresets.json.gz"])))


def end_state(api: Api, namespace: str, featureset: str, names: dict[str, str]) -> Any:
    """All that the operator has made in a namespace, without what differs between two equal runs.

    `names` are texts (namespace, topic) to be replaced by others.
    """
    found = [_normal(obj) for obj in children(api, namespace)]
    resource = api.get("FeatureSet", namespace, featureset)
    state = {
        "children": found,
        "serving": serving_config(api, namespace),
        "finalizers": (resource or {}).get("metadata", {}).get("finalizers", []),
        "status": _status((resource or {}).get("status", {})),
    }
    text = json.dumps(state, sort_keys=True)
    for given, placeholder in {**_revisions(found), **names}.items():
        text = text.replace(given, placeholder)
    state = json.loads(text)
    return {**state, "children": sorted(state["children"], key=lambda obj: (obj["kind"], obj["metadata"]["name"]))}


def _normal(obj: Object) -> Object:
    meta = {k: v for k, v in obj["metadata"].items() if k not in _BY_THE_SERVER}
    meta["ownerReferences"] = [
        {k: v for k, v in owner.items() if k != "uid"} for owner in meta.get("ownerReferences", [])
    ]
    annotations = {k: v for k, v in meta.get("annotations", {}).items() if k not in _HASHES}
    meta["annotations"] = {k: v for k, v in annotations.items() if k != "deployment.kubernetes.io/revision"}
    rest = {k: v for k, v in obj.items() if k not in ("metadata", "status")}
    spec = rest.get("spec", {})
    template = spec.get("template", {}).get("metadata", {})
    for name in _HASHES & set(template.get("annotations", {})):
        del template["annotations"][name]
    if obj["kind"] == "Job":  # its selector is the Job's uid
        spec.pop("selector", None)
        template.get("labels", {}).pop("controller-uid", None)
        template.get("labels", {}).pop("batch.kubernetes.io/controller-uid", None)
    return {**rest, "metadata": meta}


def _revisions(found: list[Object]) -> dict[str, str]:
    """Names that are hashes of the content, which names the topic: each kind's by age."""
    names: dict[str, str] = {}
    for obj in found:
        revision = obj["metadata"]["labels"].get("freshet.dev/revision")
        if revision:
            names.setdefault(revision, f"REV{len(names)}")
    specs = [obj for obj in found if obj["kind"] == "ControllerRevision"]
    for obj in sorted(specs, key=lambda obj: int(obj["revision"])):
        names.setdefault(obj["metadata"]["name"].rsplit("-", 1)[1], f"SPEC{obj['revision']}")
    return names


def _status(status: Object) -> Object:
    """What of a status must be equal after a crash: no times, no figures, and nothing that pods come and go by."""
    conditions = {
        c["type"]: (c["status"], c["reason"])
        for c in status.get("conditions", [])
        if c["type"] in ("TopicsReady", "Paused")
    }
    kept = {k: status.get(k) for k in ("observedGeneration", "version", "serving", "lastValid")}
    topics = sorted((t["name"], t.get("partitions"), t.get("managed")) for t in status.get("topics", []))
    return {**kept, "conditions": conditions, "topics": topics}


def difference(found: Any, wanted: Any) -> str:
    """The lines in which two end states differ."""
    before, after = (json.dumps(state, indent=1, sort_keys=True).splitlines() for state in (wanted, found))
    return "\n".join(difflib.unified_diff(before, after, "wanted", "found", n=4, lineterm=""))
