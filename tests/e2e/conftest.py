"""What the end-to-end tests share: images, one release of the chart, namespaces, FeatureSets with their traffic.

They need KUBECONFIG and E2E_LOAD_IMAGE, the command that brings images to the nodes. More variables:
E2E_VALUES=FILE,… more values of the chart; E2E_BUILD=0 takes the images as they are; E2E_KEEP=1 leaves the release for
the next run; E2E_WATCH=own: the operator looks at the tests' namespaces only, for a cluster that others use as well;
E2E_DUMP: folder of what failed tests leave (build/e2e); E2E_HELM, E2E_NAMESPACE.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REQUIRE_ALL
from tests.e2e import images
from tests.e2e.cluster import Door, Kubectl, Object, Refused, door, dump, glance, until
from tests.e2e.helm import Release
from tests.e2e.traffic import Account, featureset

NAMESPACE = os.environ.get("E2E_NAMESPACE", "freshet-e2e")
DUMP = Path(os.environ.get("E2E_DUMP", "build/e2e"))
OPERATOR = "app.kubernetes.io/name=freshet,app.kubernetes.io/component=operator"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test of this folder carries the marker."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)


def namespace_of(module: str) -> str:
    """Namespace of the FeatureSets of a test module."""
    return f"{NAMESPACE}-{module.rpartition('.')[2].removeprefix('test_').replace('_', '-')}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that fails leaves a picture of the cluster."""
    report = yield
    if report.failed and report.when in ("setup", "call"):
        module = item.nodeid.partition("::")[0].rpartition("/")[2].removesuffix(".py")
        folder = DUMP / re.sub(r"[^\w.-]+", "-", item.nodeid.rpartition("/")[2])
        kubectl, namespaces = Kubectl(), [NAMESPACE, namespace_of(module)]
        dump(kubectl, folder, namespaces, NAMESPACE)
        report.sections.append((f"cluster, all of it in {folder}", glance(kubectl, namespaces)))
    return report


@dataclass(frozen=True)
class Installation:
    """The running release, and how to get in."""

    kubectl: Kubectl
    release: Release
    ingest: Door
    serving: Door
    next_tag: str
    """The same images under another tag, to upgrade to."""

    @property
    def namespace(self) -> str:
        """Of the release."""
        return self.release.namespace

    def account(self, name: str, entity: str = "", users: int = 20) -> Account:
        """A new account of a FeatureSet."""
        return Account(self.ingest, self.serving, name, entity or name.replace("-", "_"), users)

    def leader(self) -> str:
        """Name of the operator pod that has the Lease; empty: none."""
        lease = self.kubectl.get("lease", self.namespace, "freshet-operator") or {}
        return str((lease.get("spec") or {}).get("holderIdentity") or "")

    def scale_operator(self, replicas: int) -> None:
        """To so many, and waits until it is so."""
        self.kubectl("-n", self.namespace, "scale", "deployment", "freshet-operator", f"--replicas={replicas}")

        def there() -> bool:
            pods = self.kubectl.all("pods", self.namespace, OPERATOR)
            return len(pods) == replicas == len(self.kubectl.running(self.namespace, OPERATOR))

        until(there, 90, f"{replicas} operators")


@pytest.fixture(scope="session")
def load_command() -> str:
    """The command that loads images; without it or a cluster there is nothing to test."""
    missing = [name for name in ("KUBECONFIG", "E2E_LOAD_IMAGE") if not os.environ.get(name)]
    if missing:
        message = f"{' and '.join(missing)} not set: the end-to-end tests need a cluster and a way to load images"
        if REQUIRE_ALL:
            pytest.fail(message)
        pytest.skip(message)
    return os.environ["E2E_LOAD_IMAGE"]


@pytest.fixture(scope="session")
def installation(load_command: str, request: pytest.FixtureRequest) -> Iterator[Installation]:
    """The chart with the values for development, installed once."""
    kubectl = Kubectl()
    if os.environ.get("E2E_BUILD", "1") != "0":
        images.build()
    tag = images.own_tag()
    images.copy(tag, f"{tag}-next")
    images.load(load_command, [tag, f"{tag}-next"])
    names = sorted({namespace_of(item.path.stem) for item in request.session.items if _is_ours(item)})
    for name in (NAMESPACE, *names):
        make_namespace(kubectl, name)
    release = Release(kubectl, NAMESPACE, tag, tuple(names) if os.environ.get("E2E_WATCH") == "own" else ())
    keep = os.environ.get("E2E_KEEP") == "1"
    if not (keep and release.is_deployed()):
        release.uninstall()
    try:
        release.install()
        with (
            door(kubectl, NAMESPACE, "freshet-ingest", 8080) as ingest,
            door(kubectl, NAMESPACE, "freshet-serving", 8083) as serving,
        ):
            yield Installation(kubectl, release, ingest, serving, f"{tag}-next")
    finally:
        if not keep:
            _remove(kubectl, release, names)


def _is_ours(item: pytest.Item) -> bool:
    return Path(__file__).parent in item.path.parents


def make_namespace(kubectl: Kubectl, name: str) -> None:
    """A namespace that admits restricted pods only; one of that name that is on its way out is waited for."""

    def gone() -> bool:
        found = kubectl.get("namespace", "default", name)
        return found is None or "deletionTimestamp" not in found["metadata"]

    until(gone, 120, f"namespace {name} is gone or there")
    labels: Object = {"pod-security.kubernetes.io/enforce": "restricted"}
    if name == NAMESPACE:
        labels = {}  # the servers for development are other people's images
    kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})


def _remove(kubectl: Kubectl, release: Release, names: list[str]) -> None:
    """FeatureSets first, while an operator can clean up after them."""
    for name in names:
        with contextlib.suppress(Refused):
            kubectl("-n", name, "delete", "featuresets", "--all", "--timeout=60s", seconds=90)
    release.uninstall()
    for name in (*names, release.namespace):
        kubectl.delete("namespace", "default", name, "--wait=false")


class FeatureSets:
    """Makes FeatureSets in one namespace."""

    def __init__(self, installation: Installation, namespace: str) -> None:
        self.installation = installation
        self.namespace = namespace
        self.made: list[str] = []

    def apply(self, name: str, **spec: Any) -> Object:
        """Applies a small one."""
        item = featureset(self.namespace, name, **spec)
        self.made.append(name)
        self.installation.kubectl.apply(item)
        return item

    def ready(self, name: str, seconds: float = 120, **spec: Any) -> Account:
        """Applies a small one and waits until it is Ready."""
        self.apply(name, **spec)
        self.installation.kubectl.wait_condition(self.namespace, name, "Ready", "True", seconds=seconds)
        return self.installation.account(name)

    def patch(self, name: str, change: Object | list[Object]) -> None:
        """Changes one."""
        self.installation.kubectl.patch("featureset", self.namespace, name, change)

    def status(self, name: str) -> Object:
        """Its status; empty: none yet."""
        found: Object = self.installation.kubectl.find("featureset", self.namespace, name).get("status") or {}
        return found

    def pods(self, name: str) -> list[str]:
        """Its processors that work."""
        return self.installation.kubectl.running(self.namespace, f"freshet.dev/featureset={name}")

    def deployment(self, name: str) -> Object:
        """The Deployment of its only revision."""
        found = self.installation.kubectl.all("deployments", self.namespace, f"freshet.dev/featureset={name}")
        assert len(found) == 1, [d["metadata"]["name"] for d in found]
        return found[0]

    def delete(self, name: str, *options: str) -> float:
        """Deletes one; returns how long it took."""
        begun = time.monotonic()
        self.installation.kubectl.delete("featureset", self.namespace, name, *options)
        return time.monotonic() - begun

    def clear(self) -> None:
        """Deletes all that were made."""
        for name in self.made:
            self.installation.kubectl.delete("featureset", self.namespace, name, "--timeout=60s")


@pytest.fixture
def featuresets(installation: Installation, request: pytest.FixtureRequest) -> Iterator[FeatureSets]:
    """FeatureSets of this test."""
    found = FeatureSets(installation, namespace_of(request.node.module.__name__))
    yield found
    found.clear()


@pytest.fixture(scope="module")
def shared(installation: Installation, request: pytest.FixtureRequest) -> Iterator[FeatureSets]:
    """FeatureSets of all tests of a module."""
    found = FeatureSets(installation, namespace_of(request.node.name.removesuffix(".py").rpartition("/")[2]))
    yield found
    found.clear()
