"""What is planned once and not again while nothing differs."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from freshet_operator.model import Figures, Key, Observed
from freshet_operator.plan import plan
from freshet_operator.quiet import LONGEST_SECONDS, Quiet, fingerprint
from tests.operator.pure import NOW, edited, settings
from tests.operator.world import DEPLOYMENT, World, served

KEY = Key("FeatureSet", "shop", "clicks")


def remembered(world: World, now: float = 0.0) -> Quiet:
    quiet, seen = Quiet(), world.observe()
    quiet.planned(KEY, fingerprint(seen), seen, plan(seen, settings(), NOW), now)
    return quiet


def test_at_rest_nothing_is_planned_again_but_every_five_minutes() -> None:
    world = served()
    quiet, seen = remembered(world), fingerprint(world.observe())
    assert quiet.is_same(KEY, seen, 1.0)
    assert not quiet.is_same(Key("FeatureSet", "shop", "other"), seen, 1.0)
    assert not quiet.is_same(KEY, seen, LONGEST_SECONDS)
    quiet.forget(KEY)
    assert not quiet.is_same(KEY, seen, 1.0)


def bumped(world: World, key: tuple[str, str]) -> None:
    world.children[key]["metadata"]["resourceVersion"] = "next"


def resource_changed(world: World) -> None:
    world.resource = edited(world.resource, {"suspend": True})
    world.resource["metadata"]["resourceVersion"] = "next"


CHANGES: dict[str, Callable[[World], Any]] = {
    "resource": resource_changed,
    "a child": lambda world: bumped(world, DEPLOYMENT),
    "a child that is gone": lambda world: world.children.pop(DEPLOYMENT),
    "a pod": lambda world: world.pods.append({"metadata": {"name": "p", "namespace": "shop"}, "spec": {}}),
    "lag": lambda world: setattr(world, "lag", 5),
    "Kafka": lambda world: setattr(world, "kafka_error", "_TRANSPORT"),
    "a topic": lambda world: world.topics.pop("clicks"),
    "figures": lambda world: setattr(world, "figures", Figures(1, 0.99, None)),
    "work": lambda world: world.rebuilding.add(3),
    "claims": lambda world: setattr(world, "claims", (world.claim(),)),
    "configuration": lambda world: setattr(world, "entries", ()),
    "serving pods": lambda world: world.serving_pods.update({"serving-2": None}),
    "namespace": lambda world: setattr(world, "terminating", True),
}


@pytest.mark.parametrize("what", CHANGES)
def test_whatever_a_plan_looks_at_is_noticed(what: str) -> None:
    world = served()
    quiet = remembered(world)
    CHANGES[what](world)
    assert not quiet.is_same(KEY, fingerprint(world.observe()), 1.0)


def test_every_part_of_what_is_observed_counts() -> None:
    tried = {
        "resource",
        "children",
        "pods",
        "kafka",
        "claims",
        "serving",
        "figures",
        "work",
        "namespace_terminating",
        "unreadable",
    }
    assert tried == set(Observed.__dataclass_fields__)


def test_a_namespace_that_cannot_be_read_any_more_is_noticed() -> None:
    seen = served().observe()
    assert fingerprint(replace(seen, unreadable=("zoo",))) != fingerprint(seen)


def test_what_waits_for_time_is_planned_again() -> None:
    world = served()
    world.lag = 9_000  # more processors after a minute of it
    world.settle()
    assert "shortSince" in world.resource["status"]["scaling"]
    assert not remembered(world).is_same(KEY, fingerprint(world.observe()), 1.0)
    stopped = served()
    stopped.stopped = {1: "Refused"}  # told after 15 s
    stopped.now_ms = 0
    assert not remembered(stopped).is_same(KEY, fingerprint(stopped.observe()), 1.0)


def test_what_is_not_done_is_planned_again() -> None:
    world = served()
    del world.children[DEPLOYMENT]
    assert not remembered(world).is_same(KEY, fingerprint(world.observe()), 1.0)
    behind = served()
    seen = behind.observe()
    status = copy.deepcopy(behind.resource["status"])
    status["lag"] = 77
    quiet = Quiet()
    quiet.planned(KEY, fingerprint(seen), seen, replace(plan(seen, settings(), NOW), status=status), 0.0)
    assert not quiet.is_same(KEY, fingerprint(seen), 1.0), "its figures have yet to be written"
