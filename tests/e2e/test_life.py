"""A FeatureSet's life: suspended and resumed, paused, scaled, deleted with its data kept or gone."""

from __future__ import annotations

import time

import pytest

from tests.e2e.cluster import until
from tests.e2e.conftest import FeatureSets, Installation


def test_suspended_it_is_served_and_resumed_it_catches_up(installation: Installation, featuresets: FeatureSets) -> None:
    account = featuresets.ready("sleepy")
    account.send(100)
    account.check()
    kubectl, here = installation.kubectl, featuresets.namespace
    featuresets.patch("sleepy", {"spec": {"suspend": True}})
    kubectl.wait_condition(here, "sleepy", "Paused", "True", "Suspended")
    selector = "freshet.dev/featureset=sleepy"
    until(lambda: not kubectl.all("pods", here, selector), 60, "no processor runs")
    assert featuresets.status("sleepy")["phase"] == "Suspended"
    assert account.wrong() == "", "what was computed is served"
    account.send(100)
    featuresets.patch("sleepy", {"spec": {"suspend": False}})
    account.check(60)
    kubectl.wait_condition(here, "sleepy", "Ready", "True")


def test_paused_nothing_is_repaired(installation: Installation, featuresets: FeatureSets) -> None:
    featuresets.ready("hands-off")
    kubectl, here = installation.kubectl, featuresets.namespace
    featuresets.patch("hands-off", {"metadata": {"annotations": {"freshet.dev/paused": "true"}}})
    kubectl.wait_condition(here, "hands-off", "Paused", "True", "UserRequested")
    deployment = featuresets.deployment("hands-off")["metadata"]["name"]
    kubectl.delete("poddisruptionbudget", here, deployment)
    time.sleep(8)
    assert kubectl.get("poddisruptionbudget", here, deployment) is None
    featuresets.patch("hands-off", {"metadata": {"annotations": {"freshet.dev/paused": None}}})
    kubectl("-n", here, "wait", "--for=create", f"pdb/{deployment}", "--timeout=15s")
    kubectl.wait_condition(here, "hands-off", "Ready", "True")


def test_retain_keeps_the_data(installation: Installation, featuresets: FeatureSets) -> None:
    account = featuresets.ready("kept")
    account.send(100)
    account.check()
    print(f"deleted in {featuresets.delete('kept'):.1f} s")
    _children_go(installation, featuresets, "kept")
    featuresets.ready("kept")
    account.send(50)
    account.check()


def test_delete_frees_the_data(installation: Installation, featuresets: FeatureSets) -> None:
    account = featuresets.ready("dropped", deletionPolicy="Delete")
    account.send(100)
    account.check()
    user = next(iter(account.amounts))
    print(f"deleted in {featuresets.delete('dropped'):.1f} s")
    _children_go(installation, featuresets, "dropped")
    # Neither the topic nor the keys are there any more: the same FeatureSet begins from nothing.
    again = featuresets.ready("dropped", deletionPolicy="Delete")
    answer = again.serving.request("GET", again.path(user))
    assert answer.status_code == 200, answer.text
    assert answer.json()["features"]["activity_count_24h"]["value"] == 0, answer.text
    again.send(50)
    again.check()


@pytest.mark.e2e_long
def test_more_processors_for_more_lag(installation: Installation, featuresets: FeatureSets) -> None:
    """A processor that gets a twentieth of a CPU comes back to a topic that went on without it."""
    kubectl, here = installation.kubectl, featuresets.namespace
    limit = {"type": "Container", "default": {"cpu": "50m"}, "defaultRequest": {"cpu": "20m"}}
    meta = {"name": "slow", "namespace": here}
    kubectl.apply({"apiVersion": "v1", "kind": "LimitRange", "metadata": meta, "spec": {"limits": [limit]}})
    try:
        size = {"minReplicas": 1, "maxReplicas": 3, "targetLag": 500}
        account = featuresets.ready("growing", seconds=240, processor=size)
        featuresets.patch("growing", {"spec": {"suspend": True}})
        kubectl.wait_condition(here, "growing", "Paused", "True", "Suspended")
        account.send(300_000)
        featuresets.patch("growing", {"spec": {"suspend": False}})

        def replicas() -> int:
            return int(featuresets.deployment("growing")["spec"]["replicas"])

        until(lambda: replicas() >= 2, 240, "more processors are asked for")
        events = kubectl("-n", here, "get", "events", "--field-selector=reason=Scaled")
        assert "growing" in events, events
        print(events)
        account.check(240)
    finally:
        kubectl.delete("limitrange", here, "slow")


def _children_go(installation: Installation, featuresets: FeatureSets, name: str) -> None:
    kinds = "deployments,configmaps,pods,serviceaccounts,poddisruptionbudgets,networkpolicies,controllerrevisions,jobs"

    def left() -> str:
        return installation.kubectl(
            "-n", featuresets.namespace, "get", kinds, "-l", f"freshet.dev/featureset={name}", "-o", "name"
        )

    until(lambda: not left(), 90, "its children are gone")
