"""What the cluster tests share: the API server of KUBECONFIG with our CRDs, namespaces, Kafka, installations.

Namespaces are unique to a test and deleted afterwards; the CRDs are shared with everybody else and stay.
"""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest
import yaml

from freshet.dev.servers import EmbeddedKafka
from tests.cluster.api import Api, ApiError, Object
from tests.cluster.identity import drop_identity
from tests.cluster.installation import Installation, eventually, make_installation
from tests.conftest import REQUIRE_ALL

CRDS = Path(__file__).parents[2] / "crds"
LONG = os.environ.get("CLUSTER_LONG") == "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test of this folder carries the marker."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.cluster)


class NoCluster(Exception):
    """There is no API server to test against."""


def kubeconfig() -> Path:
    """The file of KUBECONFIG. Raises NoCluster."""
    where = os.environ.get("KUBECONFIG", "")
    if not where:
        raise NoCluster("KUBECONFIG is not set: these tests need a Kubernetes API server")
    if not Path(where).is_file():
        raise NoCluster(f"KUBECONFIG names no file: {where}")
    return Path(where)


@pytest.fixture(scope="session")
def kube() -> Iterator[Api]:
    """The API server of KUBECONFIG, as its user (who may do everything), with this version's CRDs."""
    try:
        where = kubeconfig()
    except NoCluster as error:
        if REQUIRE_ALL:
            pytest.fail(str(error))
        pytest.skip(str(error))
    api = Api(where)
    try:
        apply_crds(api)
        yield api
    finally:
        api.close()


def apply_crds(api: Api) -> None:
    """Brings this version's CRDs to the server and waits until they work."""
    names = []
    for file in sorted(CRDS.glob("*.yaml")):
        for crd in yaml.safe_load_all(file.read_text()):
            api.apply(crd, force=True)
            names.append(crd["metadata"]["name"])
    assert names, f"no CRDs in {CRDS}"

    def established() -> bool:
        found = [api.find("CustomResourceDefinition", "", name) for name in names]
        return all(
            any(c["type"] == "Established" and c["status"] == "True" for c in crd["status"].get("conditions") or ())
            for crd in found
        )

    eventually(established, 30, "the CRDs are established")


class NamespaceMaker(Protocol):
    """Makes namespaces."""

    def __call__(self, *, pods: bool = True) -> str:
        """A new one; `pods` False: a quota forbids pods, so that nothing but the operator moves."""
        ...


@contextlib.contextmanager
def namespaces(kube: Api) -> Iterator[NamespaceMaker]:
    """Namespaces that are deleted at the end, without waiting for it."""
    made: list[str] = []

    def make(*, pods: bool = True) -> str:
        name = f"freshet-t-{uuid.uuid4().hex[:8]}"
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
        made.append(name)
        if not pods:
            meta = {"name": "no-pods", "namespace": name}
            quota: Object = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta}
            kube.create({**quota, "spec": {"hard": {"pods": "0"}}})
        return name

    try:
        yield make
    finally:
        for name in made:
            kube.delete("Namespace", "", name)
            _release(kube, name)


def _release(kube: Api, namespace: str) -> None:
    """No operator is left to take finalizers off."""
    for resource in kube.all("FeatureSet", namespace):
        if resource["metadata"].get("finalizers"):
            with contextlib.suppress(ApiError):  # gone in this moment
                kube.patch("FeatureSet", namespace, resource["metadata"]["name"], {"metadata": {"finalizers": None}})


@pytest.fixture
def new_namespace(kube: Api) -> Iterator[NamespaceMaker]:
    """Makes namespaces of this test."""
    with namespaces(kube) as make:
        yield make


@pytest.fixture
def kube_namespace(new_namespace: NamespaceMaker) -> str:
    """A namespace of this test."""
    return new_namespace()


class Installer(Protocol):
    """Makes installations of the operator."""

    def __call__(
        self,
        namespace: str | None = None,
        *,
        pods: bool = False,
        kafka: str | None = None,
        start: bool = True,
        watched: tuple[str, ...] = (),
        cluster_wide: bool = False,
        **environment: str,
    ) -> Installation:
        """One in `namespace` (none: a new one), running if `start`."""
        ...


@contextlib.contextmanager
def installer(
    kube: Api, kafka: EmbeddedKafka, folder: Callable[[], Path], new_namespace: NamespaceMaker
) -> Iterator[Installer]:
    """Makes installations and ends them; the operator must never have lacked a right."""
    made: list[Installation] = []
    default_kafka = kafka.bootstrap

    def make(
        namespace: str | None = None,
        *,
        pods: bool = False,
        kafka: str | None = None,
        start: bool = True,
        watched: tuple[str, ...] = (),
        cluster_wide: bool = False,
        **environment: str,
    ) -> Installation:
        installation = make_installation(
            kube,
            namespace or new_namespace(pods=pods),
            folder(),
            kafka or default_kafka,
            watched=watched,
            cluster_wide=cluster_wide,
            **environment,
        )
        made.append(installation)
        if start:
            installation.operator.start()
        return installation

    refused: list[str] = []
    try:
        yield make
    finally:
        for installation in made:
            refused += installation.close()
            drop_identity(kube, installation.namespace)
    assert not refused, f"the operator's Role lacks rights: {sorted(set(refused))}"


@pytest.fixture
def install(kube: Api, kafka: EmbeddedKafka, tmp_path: Path, new_namespace: NamespaceMaker) -> Iterator[Installer]:
    """Makes installations of this test."""
    numbers = iter(range(1000))

    def folder() -> Path:
        path = tmp_path / f"installation-{next(numbers)}"
        path.mkdir()
        return path

    with installer(kube, kafka, folder, new_namespace) as make:
        yield make


@pytest.fixture(scope="module")
def shared(kube: Api, kafka: EmbeddedKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A running operator for a module whose tests use names of their own and leave it running."""
    with (
        namespaces(kube) as new_namespace,
        installer(kube, kafka, lambda: tmp_path_factory.mktemp("operator"), new_namespace) as make,
    ):
        yield make()


@pytest.fixture
def since() -> float:
    """When the test began."""
    return time.monotonic()
