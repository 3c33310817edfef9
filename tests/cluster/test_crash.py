"""The operator dies between any two writes: the next one brings the same end state as if nothing had happened.

The variable FRESHET_TEST_CRASH_AT_WRITE ends the process (137) before its k-th write, or with "k+" just after it. The
chain ("1+", again and again) dies between all pairs of writes of one change; a single k is tried besides, in the long
form every k.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from freshet.dev.servers import EmbeddedKafka
from tests.cluster.api import Api
from tests.cluster.conftest import LONG, Installer
from tests.cluster.installation import CRASHED, Installation
from tests.cluster.kafka import Topics
from tests.cluster.samples import changed, featureset
from tests.cluster.snapshot import difference, end_state, serving_config
from tests.cluster.test_delete import complete_jobs

NAME = "shop"
VARIABLE = "FRESHET_TEST_CRASH_AT_WRITE"
MOST_WRITES = 40
STEPS_SECONDS = 45
REST_SECONDS = 2.0
PATIENCE = 15
WRITES = range(1, MOST_WRITES) if LONG else (4,)


@dataclass
class Scenario:
    """One change: how it is prepared by a healthy operator, what the user does, and when it is done."""

    policy: str
    prepared: bool
    act: Callable[[Api, Installation], None]
    done: Callable[[Api, Installation], bool]


def _manifest(installation: Installation, policy: str) -> Any:
    return featureset(installation.namespace, NAME, f"{installation.namespace}-events", deletionPolicy=policy)


def _create(kube: Api, installation: Installation) -> None:
    kube.create(_manifest(installation, "Delete"))


def _change(kube: Api, installation: Installation) -> None:
    new = changed(_manifest(installation, "Retain"), output={"every": "2s"}, processor={"minReplicas": 2})
    kube.patch("FeatureSet", installation.namespace, NAME, {"spec": new["spec"]})


def _delete(kube: Api, installation: Installation) -> None:
    kube.delete("FeatureSet", installation.namespace, NAME)


def _settled(kube: Api, installation: Installation) -> bool:
    """The status speaks of the newest spec and serving has it: both come last."""
    fs = kube.find("FeatureSet", installation.namespace, NAME)
    if fs.get("status", {}).get("observedGeneration") != fs["metadata"]["generation"]:
        return False
    if installation.condition(NAME, "TopicsReady")["status"] != "True":
        return False
    entries = (serving_config(kube, installation.namespace) or {"featuresets": []})["featuresets"]
    return bool([e["spec"]["output"] for e in entries] == [fs["spec"]["output"]])


def _gone(kube: Api, installation: Installation) -> bool:
    complete_jobs(kube, installation.namespace)
    if kube.get("FeatureSet", installation.namespace, NAME) is not None:
        return False
    config = serving_config(kube, installation.namespace)
    served = bool(config and config["featuresets"])
    return not served and not kube.all("Job", installation.namespace)


SCENARIOS = {
    "create": Scenario("Delete", False, _create, _settled),
    "change": Scenario("Retain", True, _change, _settled),
    "delete": Scenario("Delete", True, _delete, _gone),
}


@pytest.fixture(scope="module")
def goals() -> dict[str, Any]:
    """End states of runs without a crash, by scenario."""
    return {}


def _prepare(kube: Api, install: Installer, scenario: Scenario) -> Installation:
    installation = install(start=False, FRESHET_WORKERS="1")  # one order of writes, so that k means the same
    if scenario.prepared:
        installation.operator.start()
        kube.create(_manifest(installation, scenario.policy))
        installation.until(lambda: _settled(kube, installation), STEPS_SECONDS, "the FeatureSet is set up")
        installation.operator.stop()
    scenario.act(kube, installation)
    return installation


def _state(kube: Api, kafka: EmbeddedKafka, installation: Installation) -> Any:
    space = installation.namespace
    topics = Topics(kafka.bootstrap)
    found = {name: topics.partitions(name) for name in sorted(topics.names(space))}
    state = end_state(kube, space, NAME, {space: "NAMESPACE"})
    return {**state, "topics": {name.replace(space, "NAMESPACE"): number for name, number in found.items()}}


def _goal(
    kube: Api, kafka: EmbeddedKafka, install: Installer, goals: dict[str, Any], what: str
) -> tuple[Scenario, Any]:
    scenario = SCENARIOS[what]
    if what not in goals:
        installation = _prepare(kube, install, scenario)
        installation.operator.start()
        installation.until(lambda: scenario.done(kube, installation), STEPS_SECONDS, f"{what} without a crash")
        goals[what] = _rested(kube, kafka, installation)
    return scenario, goals[what]


def _rested(kube: Api, kafka: EmbeddedKafka, installation: Installation) -> Any:
    """The state when nothing has been written for a while."""
    end = time.monotonic() + STEPS_SECONDS
    while installation.proxy.writes(time.monotonic() - REST_SECONDS) and time.monotonic() < end:
        time.sleep(0.1)
    return _state(kube, kafka, installation)


@pytest.mark.parametrize("what", list(SCENARIOS))
def test_a_crash_after_every_write(
    kube: Api, kafka: EmbeddedKafka, install: Installer, goals: dict[str, Any], what: str
) -> None:
    scenario, goal = _goal(kube, kafka, install, goals, what)
    installation = _prepare(kube, install, scenario)
    crashes = 0
    while crashes < MOST_WRITES:
        # Some writes change nothing the second time (a group that is gone): later processes may do one more.
        installation.operator.start(**{VARIABLE: f"{1 + crashes // PATIENCE}+"})
        if not _crashes(kube, installation, scenario):
            break
        crashes += 1
    else:
        raise AssertionError(f"{MOST_WRITES} crashes and still no end: {_last_writes(installation)}")
    assert crashes >= 3, "the hook crashes nothing"
    assert not difference(_rested(kube, kafka, installation), goal)


def _last_writes(installation: Installation) -> list[str]:
    return [f"{seen.method} {seen.path} → {seen.status}" for seen in installation.proxy.writes()[-10:]]


def _crashes(kube: Api, installation: Installation, scenario: Scenario) -> bool:
    """Whether the process dies before all is done; False: it lives and has nothing left to do."""

    def ended() -> str:
        if not installation.operator.alive:
            return "crashed"
        return "done" if scenario.done(kube, installation) else ""

    if installation.until(ended, STEPS_SECONDS, "the end or a crash", keep=False) == "done":
        code = installation.operator.wait_exit(3.0)  # a write may still come
        if code is None:
            return False
    assert installation.operator.process.returncode == CRASHED, installation.story()
    return True


@pytest.mark.parametrize("what", list(SCENARIOS))
@pytest.mark.timeout(3600)
def test_a_crash_at_one_write_alone(
    kube: Api, kafka: EmbeddedKafka, install: Installer, goals: dict[str, Any], what: str
) -> None:
    scenario, goal = _goal(kube, kafka, install, goals, what)
    for k in WRITES:
        installation = _prepare(kube, install, scenario)
        installation.operator.start(**{VARIABLE: str(k)})
        crashed = _crashes(kube, installation, scenario)
        if crashed:
            installation.operator.start()
            _wait_done(kube, installation, scenario)
        assert not difference(_rested(kube, kafka, installation), goal), f"crash at write {k}"
        installation.operator.end()
        if not crashed:
            return


def _wait_done(kube: Api, installation: Installation, scenario: Scenario) -> None:
    installation.until(lambda: scenario.done(kube, installation), STEPS_SECONDS, "the end state")
