"""An API server that is ill: what runs is left alone, and soon after it is well everything is as it should be."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from freshet.dev.servers import EmbeddedKafka
from tests.cluster.api import Api, Object
from tests.cluster.conftest import LONG, Installer, installer, namespaces
from tests.cluster.installation import Installation, eventually
from tests.cluster.proxy import Fault
from tests.cluster.samples import changed, featureset
from tests.cluster.snapshot import child_names, children

NAME = "shop"
SECONDS = 60 if LONG else 15
CONVERGED_SECONDS = 30.0
ILLNESSES = ("503", "429", "403", "401", "refused", "slow")


@dataclass
class Patient:
    """An installation and what happened to it."""

    installation: Installation
    uids: dict[tuple[str, str], str]
    writes: int = 0
    """That reached the API server in the outage."""
    damage: str = ""
    recovered_after: float | None = None
    """Seconds from the end of the outage to the desired state; None: never."""


@pytest.fixture(scope="module", autouse=True)
def muted(kube: Api, kafka: EmbeddedKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An operator whose watches say nothing any more, while there is something to say. From the first test on: it takes
    minutes to be sure of that.
    """
    with (
        namespaces(kube) as new_namespace,
        installer(kube, kafka, lambda: tmp_path_factory.mktemp("operator"), new_namespace) as install,
    ):
        installation = install()
        kube.create(featureset(installation.namespace, NAME, f"{installation.namespace}-events"))
        installation.wait_condition(NAME, "TopicsReady", "True", seconds=60)
        healthy = installation.operator.get("/livez")
        assert healthy is not None
        assert healthy.status == 200
        installation.proxy.mute = True
        note = {"metadata": {"annotations": {"seen": "never"}}}
        kube.patch("FeatureSet", installation.namespace, NAME, note)
        yield installation


@pytest.fixture(scope="module")
def patients(kube: Api, kafka: EmbeddedKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Patient]]:
    """All illnesses at the same time, each to an installation of its own: an hour of waiting in a minute."""
    with (
        namespaces(kube) as new_namespace,
        installer(kube, kafka, lambda: tmp_path_factory.mktemp("operator"), new_namespace) as install,
    ):
        ward = {illness: _admit(kube, install) for illness in ILLNESSES}
        for patient in ward.values():
            patient.installation.wait_condition(NAME, "TopicsReady", "True", seconds=60)
            patient.installation.wait_observed(NAME)
            patient.uids = _uids(kube, patient.installation)
        begun = time.monotonic()
        for illness, patient in ward.items():
            _fall_ill(illness, patient)
            _change(kube, patient)
        _sleep(ward, SECONDS)
        for illness, patient in ward.items():
            proxy = patient.installation.proxy
            patient.writes = len([s for s in proxy.writes(begun + 0.5) if s.status and not s.injected])
            patient.damage = _damage(kube, patient)
            if illness == "refused":
                proxy.listen()
            proxy.lift()
        _observe_recovery(kube, ward)
        yield ward


def _admit(kube: Api, install: Installer) -> Patient:
    installation = install()
    kube.create(featureset(installation.namespace, NAME, f"{installation.namespace}-events"))
    return Patient(installation, {})


def _fall_ill(illness: str, patient: Patient) -> None:
    proxy = patient.installation.proxy
    if illness == "refused":
        proxy.refuse()
    elif illness == "slow":
        proxy.inject(Fault(delay=SECONDS))
    else:
        proxy.inject(Fault(status=int(illness)))


def _change(kube: Api, patient: Patient) -> None:
    """Something to do: a child goes and the spec changes while the operator cannot see it."""
    space = patient.installation.namespace
    name = next(name for kind, name in patient.uids if kind == "PodDisruptionBudget")
    kube.delete("PodDisruptionBudget", space, name)
    new = changed(featureset(space, NAME, f"{space}-events"), processor={"minReplicas": 2})
    kube.patch("FeatureSet", space, NAME, {"spec": new["spec"]})


def _sleep(ward: dict[str, Patient], seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        _keep(ward)
        time.sleep(0.1)


def _keep(ward: dict[str, Patient]) -> None:
    for patient in ward.values():
        patient.installation.operator.keep()


def _damage(kube: Api, patient: Patient) -> str:
    """What is not as it was left: nothing may be deleted, replaced or stopped because the API server is ill."""
    expected = {key: uid for key, uid in patient.uids.items() if key[0] != "PodDisruptionBudget"}
    now = _uids(kube, patient.installation)
    lost = {key for key, uid in expected.items() if now.get(key) != uid}
    return f"changed or gone: {sorted(lost)}" if lost else ""


def _uids(kube: Api, installation: Installation) -> dict[tuple[str, str], str]:
    found = children(kube, installation.namespace, NAME)
    return {(o["kind"], o["metadata"]["name"]): o["metadata"]["uid"] for o in found}


def _well(kube: Api, patient: Patient) -> bool:
    installation = patient.installation
    fs: Object = kube.find("FeatureSet", installation.namespace, NAME)
    if fs.get("status", {}).get("observedGeneration") != fs["metadata"]["generation"]:
        return False
    if {key[0] for key in patient.uids} - {kind for kind, _ in child_names(kube, installation.namespace, NAME)}:
        return False
    (deployment,) = [o for o in children(kube, installation.namespace, NAME) if o["kind"] == "Deployment"]
    return bool(deployment["spec"]["replicas"] == 2)


def _observe_recovery(kube: Api, ward: dict[str, Patient]) -> None:
    begun = time.monotonic()
    while time.monotonic() < begun + CONVERGED_SECONDS + 15:
        _keep(ward)
        for patient in ward.values():
            if patient.recovered_after is None and _well(kube, patient):
                patient.recovered_after = time.monotonic() - begun
        if all(patient.recovered_after is not None for patient in ward.values()):
            return
        time.sleep(0.2)


@pytest.mark.parametrize("illness", ILLNESSES)
def test_what_runs_is_left_alone(patients: dict[str, Patient], illness: str) -> None:
    assert patients[illness].damage == ""
    if illness != "slow":
        assert patients[illness].writes == 0, "the fault was no fault"


@pytest.mark.parametrize("illness", ILLNESSES)
def test_soon_after_all_is_well(patients: dict[str, Patient], illness: str) -> None:
    patient = patients[illness]
    assert patient.recovered_after is not None, patient.installation.story()
    assert patient.recovered_after <= CONVERGED_SECONDS, patient.installation.story()


def test_conflicts_are_tried_again(kube: Api, install: Installer) -> None:
    """409 to the first two writes of status and of children."""
    installation = install(start=False)
    status = Fault(status=409, times=2, only=lambda s: s.is_write and s.path.split("?")[0].endswith("/status"))
    child = Fault(status=409, times=2, only=lambda s: s.is_write and "/deployments/" in s.path)
    installation.proxy.inject(status, child)
    installation.operator.start()
    kube.create(featureset(installation.namespace, NAME, f"{installation.namespace}-events"))
    installation.wait_condition(NAME, "TopicsReady", "True", seconds=60)
    installation.until(lambda: _has(kube, installation, "Deployment"), 30, "a Deployment")
    assert (status.hit, child.hit) == (2, 2)


def test_a_conflicting_edit_of_the_user_wins(kube: Api, install: Installer) -> None:
    """The spec changes between the operator's look and its write of the status: the newest spec is what counts."""
    installation = install()
    space = installation.namespace
    sent = featureset(space, NAME, f"{space}-events")
    kube.create(sent)
    for replicas in (1, 2, 1, 2, 1, 2):
        new = changed(sent, processor={"minReplicas": replicas, "maxReplicas": 2})
        kube.patch("FeatureSet", space, NAME, {"spec": new["spec"]})
    installation.wait_observed(NAME, 45)
    installation.until(
        lambda: [o["spec"]["replicas"] for o in children(kube, space, NAME) if o["kind"] == "Deployment"] == [2],
        20,
        "two replicas",
    )


def test_what_went_in_a_watch_gap_is_noticed(kube: Api, install: Installer) -> None:
    """All watches break; when they come back the server has forgotten where they were (410)."""
    installation = install()
    space = installation.namespace
    kube.create(featureset(space, NAME, f"{space}-events"))
    installation.wait_condition(NAME, "TopicsReady", "True", seconds=45)
    installation.until(lambda: _has(kube, installation, "NetworkPolicy"), 20, "children")
    before = child_names(kube, space, NAME)
    hold = Fault(status=503, only=lambda s: s.is_watch)
    installation.proxy.inject(hold)
    installation.until(lambda: hold.hit >= 3, 15, "watches are refused", keep=False)
    for kind, name in before:
        kube.delete(kind, space, name)
    gone = Fault(gone=True, times=20, only=lambda s: s.is_watch and "resourceVersion=" in s.path)
    installation.proxy.inject(gone)
    installation.until(lambda: gone.hit >= 3, 45, "watches are told 410")
    installation.proxy.lift()
    installation.until(lambda: child_names(kube, space, NAME) == before, 30, "all children are there again")


def test_watches_that_say_nothing_any_more_are_noticed(muted: Installation) -> None:
    """The connection stays open and silent, as behind a load balancer that forgot it: a kubelet has to be told."""

    def noticed() -> str:
        if not muted.operator.alive:
            return "it ended"
        answer = muted.operator.get("/livez")
        return "" if answer is None or answer.status == 200 else answer.body.decode()

    told = eventually(noticed, 240, "/livez fails", story=muted.story)
    assert "watch" in told or told == "it ended"


def _has(kube: Api, installation: Installation, kind: str) -> bool:
    return any(found == kind for found, _ in child_names(kube, installation.namespace, NAME))
