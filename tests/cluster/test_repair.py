"""Children that somebody edits or deletes come back, and what is not the operator's stays as it is."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.cluster.api import Api, Object
from tests.cluster.installation import Installation
from tests.cluster.samples import featureset
from tests.cluster.snapshot import SERVING_CONFIG, child_names, children

NAME = "shop"
KINDS = ("ServiceAccount", "ConfigMap", "Deployment", "PodDisruptionBudget", "NetworkPolicy", "ControllerRevision")
P95_SECONDS = 5.0

EDITS: dict[str, Object] = {
    "ServiceAccount": {"automountServiceAccountToken": True},
    "ConfigMap": {"data": {"featureset.json": "{}"}},
    "Deployment": {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 1}}}},
    "PodDisruptionBudget": {"spec": {"maxUnavailable": 0, "minAvailable": None}},
    "NetworkPolicy": {"spec": {"ingress": [{}]}},
    "ControllerRevision": {"metadata": {"labels": {"freshet.dev/featureset": "other"}}},
}
"""Each is wrong: a field that the operator sets, set otherwise."""

_times: list[float] = []


@pytest.fixture(scope="module", autouse=True)
def _made(kube: Api, shared: Installation) -> None:
    kube.create(featureset(shared.namespace, NAME, f"{shared.namespace}-events"))
    shared.wait_condition(NAME, "TopicsReady", "True", seconds=45)
    shared.until(lambda: kube.get("ConfigMap", shared.namespace, SERVING_CONFIG), 20, "the serving ConfigMap")


def _child(kube: Api, shared: Installation, kind: str) -> Object:
    (found,) = [obj for obj in children(kube, shared.namespace, NAME) if obj["kind"] == kind]
    return found


def _timed(shared: Installation, look: Callable[[], Any], what: str) -> None:
    begun = time.monotonic()
    shared.until(look, 20, what)
    _times.append(time.monotonic() - begun)


@pytest.mark.parametrize("round_", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_a_deleted_child_comes_back(kube: Api, shared: Installation, kind: str, round_: int) -> None:
    old = _child(kube, shared, kind)
    name = old["metadata"]["name"]
    kube.delete(kind, shared.namespace, name)

    def back() -> bool:
        new = kube.get(kind, shared.namespace, name)
        return new is not None and new["metadata"]["uid"] != old["metadata"]["uid"]

    _timed(shared, back, f"{kind} {name} is there again")


@pytest.mark.parametrize("kind", KINDS)
def test_an_edit_of_an_own_field_is_undone(kube: Api, shared: Installation, kind: str) -> None:
    old = _child(kube, shared, kind)
    name = old["metadata"]["name"]
    edited = kube.patch(kind, shared.namespace, name, EDITS[kind])
    assert _content(edited) != _content(old), "the edit must be wrong to be undone"

    def undone() -> bool:
        new = kube.get(kind, shared.namespace, name)
        return new is not None and _content(new) == _content(old)

    _timed(shared, undone, f"{kind} {name} is as it was")


def _content(obj: Object) -> Object:
    kept = {k: v for k, v in obj.items() if k not in ("metadata", "status", "kind", "apiVersion")}
    annotations = obj["metadata"].get("annotations", {})
    annotations = {k: v for k, v in annotations.items() if k.startswith("freshet.dev/")}
    return {**kept, "labels": obj["metadata"]["labels"], "annotations": annotations}


def test_the_serving_config_map_comes_back(kube: Api, shared: Installation) -> None:
    old = kube.find("ConfigMap", shared.namespace, SERVING_CONFIG)
    kube.delete("ConfigMap", shared.namespace, SERVING_CONFIG)

    def same() -> bool:
        found = kube.get("ConfigMap", shared.namespace, SERVING_CONFIG)
        return found is not None and bool(found["binaryData"] == old["binaryData"])

    _timed(shared, same, "the serving ConfigMap is there again")
    kube.patch("ConfigMap", shared.namespace, SERVING_CONFIG, {"binaryData": {"featuresets.json.gz": "AAAA"}})
    _timed(shared, same, "the serving ConfigMap is as it was")


def test_a_scaled_deployment_goes_back_to_its_replicas(kube: Api, shared: Installation) -> None:
    old = _child(kube, shared, "Deployment")
    name = old["metadata"]["name"]
    kube.patch("Deployment", shared.namespace, name, {"spec": {"replicas": 0}}, "scale")
    want = old["spec"]["replicas"]

    def as_before() -> bool:
        return bool(kube.find("Deployment", shared.namespace, name)["spec"]["replicas"] == want)

    _timed(shared, as_before, f"{want} replicas")


def test_repairs_are_fast(shared: Installation) -> None:
    """After the tests above: the bar is 5 s for 95 % of them."""
    assert len(_times) >= 2 * len(KINDS), "run the whole module"
    nearest = sorted(_times)[math.ceil(0.95 * len(_times)) - 1]
    assert nearest <= P95_SECONDS, sorted(_times)


def test_all_children_at_once_come_back(kube: Api, shared: Installation) -> None:
    before = child_names(kube, shared.namespace, NAME)
    for kind, name in before:
        kube.delete(kind, shared.namespace, name)
    shared.until(lambda: child_names(kube, shared.namespace, NAME) == before, 15, "all children are there again")


def test_a_users_label_and_annotation_stay(kube: Api, shared: Installation) -> None:
    name = _child(kube, shared, "Deployment")["metadata"]["name"]
    note = {"metadata": {"labels": {"team": "growth"}, "annotations": {"note": "ours"}}}
    kube.patch("Deployment", shared.namespace, name, note)
    wrong = EDITS["Deployment"]
    kube.patch("Deployment", shared.namespace, name, wrong)
    seconds = wrong["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]

    def repaired() -> bool:
        spec = kube.find("Deployment", shared.namespace, name)["spec"]["template"]["spec"]
        return bool(spec["terminationGracePeriodSeconds"] != seconds)

    shared.until(repaired, 20, "the Deployment is repaired")
    meta = kube.find("Deployment", shared.namespace, name)["metadata"]
    assert meta["labels"]["team"] == "growth"
    assert meta["annotations"]["note"] == "ours"


def test_server_side_apply_owns_exactly_our_fields(kube: Api, shared: Installation) -> None:
    for obj in children(kube, shared.namespace, NAME):
        ours = [m for m in obj["metadata"]["managedFields"] if m["manager"] == "freshet-operator"]
        assert {m["operation"] for m in ours} == {"Apply"}, (obj["kind"], ours)
    managers = {
        (m["manager"], m["operation"], m.get("subresource", ""))
        for m in kube.find("FeatureSet", shared.namespace, NAME)["metadata"]["managedFields"]
    }
    assert any(manager == "freshet-operator" and sub == "status" for manager, _, sub in managers)
    assert not any(manager == "freshet-operator" and sub == "" for manager, _, sub in managers), (
        "under Retain the operator writes nothing of the FeatureSet but its status"
    )
