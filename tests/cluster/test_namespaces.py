"""An operator with Roles only: what happens to one of its namespaces is no matter of the others."""

from __future__ import annotations

import time

from tests.cluster.api import Api
from tests.cluster.conftest import Installer, NamespaceMaker
from tests.cluster.identity import ACCOUNT
from tests.cluster.installation import Installation, eventually
from tests.cluster.samples import featureset
from tests.cluster.snapshot import child_names, serving_config

NOTICED_SECONDS = 60.0
"""A look at the rights, and the new process."""
ROLE = f"{ACCOUNT}-featuresets"


def _installed(
    kube: Api, install: Installer, new_namespace: NamespaceMaker, **spec: str
) -> tuple[Installation, str, str]:
    """An operator with a FeatureSet in each of two namespaces, both served."""
    stays, goes = new_namespace(pods=False), new_namespace(pods=False)
    installation = install(watched=(stays, goes))
    for space in (stays, goes):
        kube.create(featureset(space, f"in-{space}", f"{space}-events", **spec))
    installation.until(lambda: _served(kube, installation) == {stays, goes}, 60, "both are served")
    return installation, stays, goes


def _served(kube: Api, installation: Installation) -> set[str]:
    found = serving_config(kube, installation.namespace) or {"featuresets": []}
    return {entry["metadata"]["namespace"] for entry in found["featuresets"]}


def _works(kube: Api, installation: Installation, space: str, seconds: float = 15) -> None:
    """What is deleted of its children comes back."""
    before = child_names(kube, space, f"in-{space}")
    (name,) = [name for kind, name in before if kind == "PodDisruptionBudget"]
    kube.delete("PodDisruptionBudget", space, name)
    installation.until(lambda: child_names(kube, space, f"in-{space}") == before, seconds, f"{space} is repaired")


def _forgive(installation: Installation) -> None:
    """It was refused on purpose."""
    for operator in installation.operators:
        operator.proxy.seen.clear()


def test_a_deleted_namespace_takes_no_other_with_it(
    kube: Api, new_namespace: NamespaceMaker, install: Installer
) -> None:
    installation, stays, goes = _installed(kube, install, new_namespace)
    kube.delete("Namespace", "", goes)
    installation.until(lambda: kube.get("Namespace", "", goes) is None, 60, "the namespace is gone")
    _works(kube, installation, stays)
    installation.until(lambda: installation.operator.restarts == 1, NOTICED_SECONDS, "the lost right is noticed")
    _works(kube, installation, stays, NOTICED_SECONDS)
    begun = time.monotonic()
    installation.operator.stop()
    installation.operator.start(FRESHET_WATCH_NAMESPACES=stays)  # as the page says
    _works(kube, installation, stays, NOTICED_SECONDS)
    installation.until(lambda: _served(kube, installation) == {stays}, 15, "what is gone is served no longer")
    assert not [seen for seen in installation.proxy.since(begun) if f"/{goes}/" in seen.path]
    _forgive(installation)


def test_a_right_that_is_taken_away_costs_nothing_that_is_served(
    kube: Api, new_namespace: NamespaceMaker, install: Installer
) -> None:
    installation, stays, goes = _installed(kube, install, new_namespace)
    binding = kube.find("RoleBinding", goes, ROLE)
    children = child_names(kube, goes, f"in-{goes}")
    kube.delete("RoleBinding", goes, ROLE)
    installation.until(lambda: installation.operator.restarts == 1, NOTICED_SECONDS, "the lost right is noticed")
    kube.create(featureset(stays, "another", f"{stays}-another"))  # the serving configuration is written anew

    def names() -> set[str]:
        return {e["metadata"]["name"] for e in serving_config(kube, installation.namespace)["featuresets"]}

    installation.until(lambda: "another" in names(), NOTICED_SECONDS, "the others go on")
    assert names() == {"another", f"in-{stays}", f"in-{goes}"}
    assert child_names(kube, goes, f"in-{goes}") == children
    kube.create({**binding, "metadata": {"name": ROLE, "namespace": goes}})
    installation.until(lambda: installation.operator.restarts == 2, NOTICED_SECONDS, "the right is noticed")
    _works(kube, installation, goes, NOTICED_SECONDS)
    _forgive(installation)


def test_the_documented_command_frees_a_namespace_whose_role_went_first(
    kube: Api, new_namespace: NamespaceMaker, install: Installer
) -> None:
    """Under Delete the finalizer may outlive the right to take it off."""
    installation, stays, goes = _installed(kube, install, new_namespace, deletionPolicy="Delete")
    kube.delete("RoleBinding", goes, ROLE)
    kube.delete("Namespace", "", goes)
    installation.until(lambda: installation.operator.restarts == 1, NOTICED_SECONDS, "the lost right is noticed")
    assert kube.find("FeatureSet", goes, f"in-{goes}")["metadata"]["deletionTimestamp"]
    warning = f"no right to list FeatureSets in {goes}"
    installation.until(lambda: warning in installation.operator.log.read_text(), 30, "it says so")
    kube.patch("FeatureSet", goes, f"in-{goes}", {"metadata": {"finalizers": None}})
    eventually(lambda: kube.get("Namespace", "", goes) is None, 60, "the namespace is gone")
    _works(kube, installation, stays, NOTICED_SECONDS)
    _forgive(installation)
