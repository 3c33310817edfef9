"""Two replicas: one leads, the other takes over, and one that lost the Lease never writes again."""

from __future__ import annotations

import json
import signal
import time

import pytest

from tests.cluster.api import Api
from tests.cluster.conftest import Installer
from tests.cluster.installation import Installation, Operator
from tests.cluster.samples import featureset
from tests.cluster.snapshot import child_names, children

NAME = "shop"
HARD_SECONDS = 20.0
"""From the leader's death to the first repair of the next."""
GRACEFUL_SECONDS = 4.0
LEASE = "freshet-operator"


@pytest.fixture
def pair(kube: Api, install: Installer) -> Installation:
    """An installation of two; the first leads."""
    installation = install()
    kube.create(featureset(installation.namespace, NAME, f"{installation.namespace}-events"))
    installation.wait_condition(NAME, "TopicsReady", "True", seconds=45)
    installation.wait_observed(NAME)
    installation.add_operator().start()
    second = installation.operators[1]
    installation.until(lambda: second.get("/livez"), 20, "the second runs")
    installation.until(lambda: any("/leases" in s.path for s in second.proxy.seen), 20, "the second wants to lead")
    assert _holder(installation) == installation.operators[0].name
    assert not second.proxy.writes(), "who does not lead does not write"
    return installation


def _holder(installation: Installation) -> str:
    spec = installation.api.find("Lease", installation.namespace, LEASE)["spec"]
    return str(spec.get("holderIdentity") or "")


def _break(kube: Api, installation: Installation) -> set[tuple[str, str]]:
    """Deletes a child; returns how it has to be again."""
    before = child_names(kube, installation.namespace, NAME)
    name = next(name for kind, name in before if kind == "Deployment")
    kube.delete("Deployment", installation.namespace, name)
    return before


def _taken_over(kube: Api, pair: Installation, before: set[tuple[str, str]], seconds: float) -> float:
    begun = time.monotonic()
    pair.until(lambda: child_names(kube, pair.namespace, NAME) == before, seconds + 15, "the next repairs", keep=False)
    return time.monotonic() - begun


def test_a_killed_leader_is_replaced(kube: Api, pair: Installation) -> None:
    first, second = pair.operators
    first.signal(signal.SIGKILL)
    first.wait_exit(5)
    before = _break(kube, pair)
    assert _taken_over(kube, pair, before, HARD_SECONDS) <= HARD_SECONDS
    assert _holder(pair) == second.name


def test_a_stopped_leader_hands_over(kube: Api, pair: Installation) -> None:
    first, second = pair.operators
    before = _break_after(kube, pair, first)
    assert _taken_over(kube, pair, before, GRACEFUL_SECONDS) <= GRACEFUL_SECONDS
    assert _holder(pair) == second.name
    assert first.wait_exit(15) == 0


def _break_after(kube: Api, pair: Installation, first: Operator) -> set[tuple[str, str]]:
    before = child_names(kube, pair.namespace, NAME)
    first.signal(signal.SIGTERM)
    name = next(name for kind, name in before if kind == "Deployment")
    deadline = time.monotonic() + 5
    while _holder(pair) == first.name and time.monotonic() < deadline:
        time.sleep(0.02)
    kube.delete("Deployment", pair.namespace, name)
    return before


def test_a_leader_that_was_frozen_never_writes_after_losing(kube: Api, pair: Installation) -> None:
    first, second = pair.operators
    first.signal(signal.SIGSTOP)
    frozen_at = time.monotonic()
    before = _break(kube, pair)
    _taken_over(kube, pair, before, HARD_SECONDS)
    assert _holder(pair) == second.name
    time.sleep(max(0.0, 30 - (time.monotonic() - frozen_at)))
    _break(kube, pair)  # both will see it at once
    woken_at = time.monotonic()
    first.signal(signal.SIGCONT)
    code = first.wait_exit(15)
    assert code is not None, "a replica that lost the Lease has to end"
    pair.until(lambda: child_names(kube, pair.namespace, NAME) == before, 15, "the second repairs", keep=False)
    assert [f"{s.method} {s.path}" for s in first.proxy.writes(woken_at)] == []
    assert _holder(pair) == second.name


def test_an_operator_started_twice_by_accident_waits(kube: Api, pair: Installation) -> None:
    """What a Deployment does while it rolls: one more replica for a while."""
    pair.add_operator().start()
    begun = time.monotonic()
    _, second, third = pair.operators
    pair.until(lambda: third.get("/livez"), 20, "the third runs")
    before = _break(kube, pair)
    pair.until(lambda: child_names(kube, pair.namespace, NAME) == before, 10, "the first repairs")
    assert not second.proxy.writes(begun)
    assert not third.proxy.writes()


def test_two_releases_beside_each_other_do_not_undo_each_other(kube: Api, pair: Installation) -> None:
    """As in a roll-out that stays half done: only who leads says how processors are, and each change of hands costs one
    roll-out, not one for every look of the other.
    """
    old, _ = pair.operators
    pair.operators[1].stop()
    new = pair.add_operator()
    template = json.loads(pair.environment["FRESHET_PROCESSOR_TEMPLATE"])
    new.start(FRESHET_PROCESSOR_TEMPLATE=json.dumps({**template, "image": "freshet/none:2"}))
    pair.until(
        lambda: any("/leases" in s.path for s in new.proxy.seen), 20, "the new release wants to lead", keep=False
    )
    before = _break(kube, pair)
    pair.until(lambda: child_names(kube, pair.namespace, NAME) == before, 10, "the old one repairs", keep=False)
    assert (_image(kube, pair), new.proxy.writes()) == ("freshet/none:1", [])

    old.stop()
    pair.until(lambda: _image(kube, pair) == "freshet/none:2", 15, "the new release leads", keep=False)
    old.start()
    pair.until(lambda: old.get("/livez"), 20, "the old release runs again", keep=False)
    begun = time.monotonic()
    before = _break(kube, pair)
    pair.until(lambda: child_names(kube, pair.namespace, NAME) == before, 10, "the new one repairs", keep=False)
    time.sleep(5)
    assert (_image(kube, pair), old.proxy.writes(begun)) == ("freshet/none:2", [])
    deployments = [s for s in new.proxy.writes() if "/deployments/" in s.path]
    assert len(deployments) == 2, "one for the other image, one for what was broken"


def _image(kube: Api, installation: Installation) -> str:
    (found,) = [o for o in children(kube, installation.namespace, NAME) if o["kind"] == "Deployment"] or [{}]
    return str(found["spec"]["template"]["spec"]["containers"][0]["image"]) if found else ""
