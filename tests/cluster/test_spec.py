"""Later specs: good ones are followed in place, bad ones never hurt what runs, and the user can stop everything."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.cluster.api import Api, Object
from tests.cluster.conftest import Installer
from tests.cluster.installation import Installation
from tests.cluster.samples import changed, featureset, redefined, typo
from tests.cluster.snapshot import child_names, children, serving_config


@pytest.fixture
def made(kube: Api, shared: Installation, request: pytest.FixtureRequest) -> Object:
    """A FeatureSet of this test alone."""
    number = abs(hash(request.node.name)) % 100_000
    sent = featureset(shared.namespace, f"fs-{number}", f"{shared.namespace}-{number}")
    kube.create(sent)
    shared.wait_condition(sent["metadata"]["name"], "TopicsReady", "True", seconds=45)
    shared.wait_observed(sent["metadata"]["name"])
    return sent


def _name(obj: Object) -> str:
    name: str = obj["metadata"]["name"]
    return name


def _deployment(kube: Api, shared: Installation, obj: Object) -> Object:
    (found,) = [c for c in children(kube, shared.namespace, _name(obj)) if c["kind"] == "Deployment"]
    return found


def _pretend_served(kube: Api, shared: Installation, obj: Object) -> None:
    """Says so in the status, as it would be with a serving pod; the operator keeps it as long as nothing denies it."""
    shared.until(lambda: _served(kube, shared, obj), 20, "it is in the serving configuration")
    revision = _deployment(kube, shared, obj)["metadata"]["labels"]["freshet.dev/revision"]
    status = {"status": {"serving": {"version": "v1", "revision": revision}}}
    kube.patch("FeatureSet", shared.namespace, _name(obj), status, "status")


def _replace(kube: Api, new: Object) -> None:
    kube.patch("FeatureSet", new["metadata"]["namespace"], _name(new), {"spec": new["spec"]})


def _served(kube: Api, shared: Installation, obj: Object) -> Any:
    entries = serving_config(kube, shared.namespace)["featuresets"]
    return next((e for e in entries if e["metadata"]["name"] == _name(obj)), None)


def test_a_change_that_is_no_new_definition_is_made_in_place(kube: Api, shared: Installation, made: Object) -> None:
    before = _deployment(kube, shared, made)
    _replace(kube, changed(made, output={"every": "2s"}, processor={"minReplicas": 2}))
    shared.wait_observed(_name(made))
    shared.until(lambda: _deployment(kube, shared, made)["spec"]["replicas"] == 2, 20, "two replicas")
    after = _deployment(kube, shared, made)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["spec"]["template"] != before["spec"]["template"], "a processor reads its manifest when it starts"

    def served() -> bool:
        entry = _served(kube, shared, made)
        return entry is not None and bool(entry["spec"]["output"]["every"] == "2s")

    shared.until(served, 20, "serving has the new manifest")
    revisions = [c for c in child_names(kube, shared.namespace, _name(made)) if c[0] == "ControllerRevision"]
    assert len(revisions) == 2
    assert shared.status(_name(made))["lastValid"]["generation"] == 2


def test_a_typo_is_told_and_the_last_valid_spec_is_kept_true(kube: Api, shared: Installation, made: Object) -> None:
    name = _name(made)
    before = child_names(kube, shared.namespace, name)
    shared.until(lambda: _served(kube, shared, made), 20, "it is served")
    _replace(kube, typo(made))
    condition = shared.wait_condition(name, "Ready", "False", "InvalidSpec")
    assert "spnet_24h" in condition["message"]
    assert "features" in condition["message"]
    assert shared.status(name)["lastValid"]["generation"] == 1
    assert child_names(kube, shared.namespace, name) == before
    assert _served(kube, shared, made) is not None
    deployment = _deployment(kube, shared, made)["metadata"]["name"]
    kube.delete("Deployment", shared.namespace, deployment)
    shared.until(lambda: child_names(kube, shared.namespace, name) == before, 10, "the Deployment is there again")
    _replace(kube, made)
    shared.until(lambda: shared.condition(name, "Ready")["reason"] != "InvalidSpec", 20, "the mended spec is valid")


def test_a_typo_survives_a_restart_of_the_operator(kube: Api, install: Installer) -> None:
    installation = install()
    sent = featureset(installation.namespace, "shop", f"{installation.namespace}-events")
    kube.create(sent)
    installation.wait_condition("shop", "TopicsReady", "True", seconds=45)
    before = child_names(kube, installation.namespace, "shop")
    installation.operator.stop()
    _replace(kube, typo(sent))
    for kind, name in before - {c for c in before if c[0] == "ControllerRevision"}:
        kube.delete(kind, installation.namespace, name)
    installation.operator.start()
    installation.wait_condition("shop", "Ready", "False", "InvalidSpec", seconds=30)
    installation.until(lambda: child_names(kube, installation.namespace, "shop") == before, 15, "all is back")


def test_a_first_spec_that_is_invalid_makes_nothing(kube: Api, shared: Installation) -> None:
    sent = typo(featureset(shared.namespace, "never", f"{shared.namespace}-never"))
    kube.create(sent)
    shared.wait_condition("never", "Ready", "False", "InvalidSpec")
    assert shared.status("never")["phase"] == "Invalid"
    assert not child_names(kube, shared.namespace, "never")
    events = shared.until(lambda: [e for e in shared.events() if e["involvedObject"]["name"] == "never"], 10, "events")
    assert any(e["type"] == "Warning" for e in events)


def test_another_definition_is_refused_with_a_sentence(kube: Api, shared: Installation, made: Object) -> None:
    name = _name(made)
    before = child_names(kube, shared.namespace, name)
    _pretend_served(kube, shared, made)
    _replace(kube, redefined(made))
    condition = shared.wait_condition(name, "Ready", "False", "DefinitionChanged")
    assert len(condition["message"].split()) > 5
    assert child_names(kube, shared.namespace, name) == before
    served = _served(kube, shared, made)
    assert "hits" not in [f["name"] for f in served["spec"]["features"]]
    _replace(kube, made)
    shared.until(lambda: shared.condition(name, "Ready")["reason"] != "DefinitionChanged", 20, "the revert helps")


def test_suspend_stops_processors_and_serves_on(kube: Api, shared: Installation, made: Object) -> None:
    shared.until(lambda: _served(kube, shared, made), 10, "it is served")
    _replace(kube, changed(made, suspend=True))
    shared.wait_condition(_name(made), "Paused", "True", "Suspended")
    shared.until(lambda: _deployment(kube, shared, made)["spec"]["replicas"] == 0, 10, "no replicas")
    assert _served(kube, shared, made) is not None
    _replace(kube, changed(made, suspend=False))
    shared.until(lambda: _deployment(kube, shared, made)["spec"]["replicas"] == 1, 20, "one replica")
    shared.wait_condition(_name(made), "Paused", "False")


def test_paused_means_hands_off(kube: Api, shared: Installation, made: Object) -> None:
    name = _name(made)
    kube.patch("FeatureSet", shared.namespace, name, {"metadata": {"annotations": {"freshet.dev/paused": "true"}}})
    shared.wait_condition(name, "Paused", "True", "UserRequested")
    deployment = _deployment(kube, shared, made)["metadata"]["name"]
    kube.delete("Deployment", shared.namespace, deployment)
    time.sleep(6)
    assert kube.get("Deployment", shared.namespace, deployment) is None
    kube.patch("FeatureSet", shared.namespace, name, {"metadata": {"annotations": {"freshet.dev/paused": None}}})
    shared.until(lambda: kube.get("Deployment", shared.namespace, deployment), 15, "the Deployment is there again")


def test_an_experiment_says_that_it_is_not_implemented(kube: Api, shared: Installation) -> None:
    variants = [{"name": "control", "version": "v1", "control": True}, {"name": "treatment", "version": "v2"}]
    sent = {
        "apiVersion": "freshet.dev/v1alpha1",
        "kind": "Experiment",
        "metadata": {"name": "ab", "namespace": shared.namespace},
        "spec": {"featureSet": "shop", "unit": "user", "variants": variants},
    }
    kube.create(sent)

    def look() -> Object:
        found: Object = kube.find("Experiment", shared.namespace, "ab").get("status", {})
        return found

    status = shared.until(look, 20, "a status")
    assert status["phase"] == "NotImplemented"
    assert {c["type"]: c["reason"] for c in status["conditions"]}["Ready"] == "NotImplemented"
