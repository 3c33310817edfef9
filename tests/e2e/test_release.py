"""The release is changed, rolled back, removed and installed again under FeatureSets that live."""

from __future__ import annotations

import time

import pytest

from tests.e2e.cluster import Object, until
from tests.e2e.conftest import FeatureSets, Installation, make_namespace
from tests.e2e.helm import CRDS

NAMESPACE_SECONDS = 60


def test_a_namespace_goes_though_the_operator_is_gone(installation: Installation, featuresets: FeatureSets) -> None:
    kubectl, here = installation.kubectl, featuresets.namespace
    featuresets.ready("last")
    installation.scale_operator(0)
    try:
        begun = time.monotonic()
        kubectl.delete("namespace", "default", here, seconds=180)
        took = time.monotonic() - begun
    finally:
        make_namespace(kubectl, here)
        installation.scale_operator(2)
    print(f"gone after {took:.1f} s")
    assert took <= NAMESPACE_SECONDS
    installation.release.install()  # Roles of a namespace went with it


def test_upgrade_and_rollback(installation: Installation, featuresets: FeatureSets) -> None:
    account = featuresets.ready("steady")
    account.send(100)
    account.check()
    image = _image(featuresets)
    installation.release.upgrade(tag=installation.next_tag)
    _rolled_out(installation, featuresets)
    assert _image(featuresets) != image
    account.send(100)
    account.check(90)
    installation.release("rollback", installation.release.name, "--wait", "--timeout", "6m")
    _rolled_out(installation, featuresets)
    assert _image(featuresets) == image
    account.send(100)
    account.check(90)


@pytest.mark.e2e_long
def test_uninstalled_the_features_stay_and_a_new_release_takes_them_up(
    installation: Installation, featuresets: FeatureSets
) -> None:
    kubectl, here = installation.kubectl, featuresets.namespace
    account = featuresets.ready("orphan")
    account.send(100)
    account.check()
    before = _uids(installation, featuresets)
    installation.release.uninstall()
    try:
        for crd in CRDS:
            kubectl("get", "crd", crd)
        time.sleep(5)
        assert _uids(installation, featuresets) == before
    finally:
        installation.release.install()
    # The store of values-dev.yaml forgets everything, Kafka keeps its claim: states are made anew from the log.
    kubectl.wait_condition(here, "orphan", "Ready", "True", seconds=180)
    account.check(120)
    assert _uids(installation, featuresets) == before
    account.send(100)
    account.check()


def _image(featuresets: FeatureSets) -> str:
    return str(featuresets.deployment("steady")["spec"]["template"]["spec"]["containers"][0]["image"])


def _rolled_out(installation: Installation, featuresets: FeatureSets) -> None:
    """The operator has given the new image to the processors, and they run."""
    wanted = installation.kubectl.find("deployment", installation.namespace, "freshet-serving")
    image = wanted["spec"]["template"]["spec"]["containers"][0]["image"]
    until(lambda: _image(featuresets) == image, 60, "processors are given the release's image")

    def settled() -> bool:
        deployment: Object = featuresets.deployment("steady")
        status = deployment["status"]
        counts = {status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")}
        return status["observedGeneration"] == deployment["metadata"]["generation"] and counts == {1}

    until(settled, 120, "the processors have been replaced")
    installation.kubectl.wait_condition(featuresets.namespace, "steady", "Ready", "True")


def _uids(installation: Installation, featuresets: FeatureSets) -> dict[str, str]:
    selector = "freshet.dev/featureset=orphan"
    found = installation.kubectl.all("deployments,configmaps,serviceaccounts", featuresets.namespace, selector)
    found.append(installation.kubectl.find("featureset", featuresets.namespace, "orphan"))
    return {f"{one['kind']}/{one['metadata']['name']}": one["metadata"]["uid"] for one in found}
