"""What keeps processors from running is said by the condition ProcessorReady, and mending it is all that is needed."""

from __future__ import annotations

import json

import pytest

from tests.e2e.cluster import Object
from tests.e2e.conftest import FeatureSets, Installation

SECONDS = 60


def _told(installation: Installation, featuresets: FeatureSets, name: str, reason: str) -> str:
    """Waits for the condition; the summary of `kubectl get` says the same. Returns its message."""
    found = installation.kubectl.wait_condition(
        featuresets.namespace, name, "ProcessorReady", "False", reason, seconds=SECONDS
    )
    print(f"{reason}: {found['message']}")
    assert featuresets.status(name)["reason"] == reason, featuresets.status(name)
    return str(found["message"])


def test_a_quota(installation: Installation, featuresets: FeatureSets) -> None:
    kubectl, here = installation.kubectl, featuresets.namespace
    meta = {"name": "no-pods", "namespace": here}
    quota: Object = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta, "spec": {"hard": {"pods": "0"}}}
    kubectl.apply(quota)
    try:
        featuresets.apply("crowded")
        assert "no-pods" in _told(installation, featuresets, "crowded", "QuotaExceeded")
    finally:
        kubectl.delete("resourcequota", here, "no-pods")
    # The Deployment's controller tries again, ever more seldom: after a minute at most by then.
    kubectl.wait_condition(here, "crowded", "Ready", "True", seconds=150)
    account = installation.account("crowded")
    account.send(50)
    account.check()


def test_an_image_that_is_not_there_does_not_stop_those_that_run(
    installation: Installation, featuresets: FeatureSets
) -> None:
    account = featuresets.ready("pictured")
    before = featuresets.pods("pictured")
    installation.release.upgrade("processor.image.tag=not-there", wait=False)
    try:
        assert "not-there" in _told(installation, featuresets, "pictured", "ImagePull")
        assert featuresets.pods("pictured") == before, "the old pods work on"
        account.send(50)
        account.check()
    finally:
        installation.release.upgrade()
    installation.kubectl.wait_condition(featuresets.namespace, "pictured", "Ready", "True")
    account.send(50)
    account.check()


@pytest.mark.e2e_long
def test_no_node_for_the_pods(installation: Installation, featuresets: FeatureSets) -> None:
    installation.release.upgrade("processor.nodeSelector.disk=quantum")
    try:
        featuresets.apply("homeless")
        assert "affinity" in _told(installation, featuresets, "homeless", "Unschedulable")
    finally:
        installation.release.upgrade()
    installation.kubectl.wait_condition(featuresets.namespace, "homeless", "Ready", "True", seconds=120)


@pytest.mark.e2e_long
def test_a_secret_that_is_not_there(installation: Installation, featuresets: FeatureSets) -> None:
    """The URL of the store in a Secret of the FeatureSet's namespace, as with a store that has a password."""
    kubectl, here = installation.kubectl, featuresets.namespace
    url = f"redis://freshet-valkey.{installation.namespace}.svc:6379/0"
    # The small store has no password, so the chart would not let its URL be a Secret: the operator is told directly.
    template = {**_processor_template(installation), "redis": "", "secret": "store"}
    extra = [{"name": "FRESHET_PROCESSOR_TEMPLATE", "value": json.dumps(template)}]
    installation.release.upgrade(given=("--set-json", f"operator.extraEnv={json.dumps(extra)}"))
    try:
        featuresets.apply("secretive")
        message = _told(installation, featuresets, "secretive", "MissingSecret")
        assert "store" in message
        assert here in message
        _secret(installation, here, "store", url)
        kubectl.wait_condition(here, "secretive", "Ready", "True", seconds=150)
        account = installation.account("secretive")
        account.send(50)
        account.check()
    finally:
        installation.release.upgrade()
        kubectl.delete("secret", here, "store")


def _processor_template(installation: Installation) -> Object:
    operator = installation.kubectl.find("deployment", installation.namespace, "freshet-operator")
    variables = operator["spec"]["template"]["spec"]["containers"][0]["env"]
    found: Object = json.loads(next(one["value"] for one in variables if one["name"] == "FRESHET_PROCESSOR_TEMPLATE"))
    return found


def _secret(installation: Installation, namespace: str, name: str, url: str) -> None:
    meta = {"name": name, "namespace": namespace}
    installation.kubectl.apply({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": {"redis": url}})
