"""The end of a FeatureSet."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from freshet.spec.resource import featureset_of
from freshet_operator import names
from freshet_operator.desired import wanted_topics
from freshet_operator.model import Claim
from tests.operator.pure import NOW, edited, featureset, settings
from tests.operator.world import REVISION, World, served


def deleted(world: World) -> World:
    world.resource["metadata"]["deletionTimestamp"] = "2026-01-05T10:30:00Z"
    world.resource["metadata"]["generation"] += 1
    return world


def test_retain_needs_no_finalizer_and_nothing_is_done() -> None:
    world = deleted(served())
    planned = world.plan()
    assert (planned.writes, planned.status["phase"]) == ((), "Deleting")
    assert planned.serving_changed


def test_the_finalizer_follows_the_policy() -> None:
    world = served({"deletionPolicy": "Delete"})
    assert world.written[0] == "add-finalizer FeatureSet clicks"
    world.resource = edited(world.resource, {"deletionPolicy": "Retain"})
    world.settle()
    assert world.resource["metadata"]["finalizers"] == []


def test_delete_cleans_up_in_order() -> None:
    world = served({"deletionPolicy": "Delete"})
    world.pods = [{"metadata": {"name": "p", "namespace": "shop", "labels": {}, "deletionTimestamp": "x"}}]
    deleted(world)
    world.written.clear()
    world.entries = ()
    stop = world.step()
    assert [write.what.split()[0] for write in stop.writes] == ["PodDisruptionBudget", "Deployment"]
    assert world.plan().writes == ()  # a pod still ends
    world.pods = []
    purge = world.step()
    assert [write.what for write in purge.writes] == [f"Job clicks-{REVISION}-purge"]
    assert world.plan().writes == ()
    world.live()
    last = world.step()
    assert [write.verb for write in last.writes] == ["delete-topic"] * 2 + ["delete-group", "remove-finalizer"]
    assert last.writes[2].name == f"freshet.shop.clicks.{REVISION}"
    assert set(world.topics) == {"dead-letter-queue"}
    assert world.gone
    assert [event.reason for event in last.events] == ["CleanedUp"]


def at_the_end(**changes: Any) -> World:
    world = deleted(served({"deletionPolicy": "Delete"}, **changes))
    for _ in range(3):
        if any(write.verb == "remove-finalizer" for write in world.plan().writes):
            return world
        world.step()
        world.live()
    raise AssertionError("no end")


def test_topics_that_others_use_are_kept() -> None:
    world = at_the_end()
    theirs = wanted_topics(featureset_of(featureset()), settings())
    for manage in (True, False):
        world.claims = (Claim("z", "z", "2027", (replace(theirs[0], manage=manage),)),)
        last = world.plan()
        assert [write.name for write in last.writes if write.verb == "delete-topic"] == ["click-features"]
        assert "kept" in last.events[0].message
    world.claims = (Claim("z", "z", "2027", theirs, deleting=True),)
    assert len([write for write in world.plan().writes if write.verb == "delete-topic"]) == 2


def test_kafka_away_is_waited_for_until_the_deadline() -> None:
    world = at_the_end()
    world.kafka_error = "_TRANSPORT"
    assert world.plan().writes == ()
    world.now_ms = NOW + 601_000
    planned = world.plan()
    assert [write.verb for write in planned.writes] == ["remove-finalizer"]
    assert [(event.type, event.reason) for event in planned.events] == [("Warning", "CleanupAbandoned")]


@pytest.mark.parametrize("how", ["annotation", "namespace", "policy", "late"])
def test_released_at_once(how: str) -> None:
    world = deleted(served({"deletionPolicy": "Delete"}))
    match how:
        case "annotation":
            world.resource["metadata"]["annotations"] = {names.ABANDON: "true"}
        case "namespace":
            world.terminating = True
        case "policy":
            world.resource["spec"]["deletionPolicy"] = "Retain"
        case "late":
            world.now_ms += 601_000
    planned = world.plan()
    assert [write.verb for write in planned.writes] == ["remove-finalizer"]
    warned = [event.reason for event in planned.events if event.type == "Warning"]
    assert warned == ([] if how == "policy" else ["CleanupAbandoned"])


def test_a_purge_that_fails_is_told_and_ends_by_the_deadline() -> None:
    world = deleted(served({"deletionPolicy": "Delete"}))
    world.step()
    world.pods = []
    world.step()
    job = world.children["Job", f"clicks-{REVISION}-purge"]
    job["status"] = {"conditions": [{"type": "Failed", "status": "True"}]}
    planned = world.step()
    assert planned.writes == ()
    assert "failed" in planned.status["message"]


def test_deleted_while_its_spec_is_bad_cleans_up_what_was() -> None:
    world = served({"deletionPolicy": "Delete"})
    world.resource = deleted(World(edited(world.resource, {"features": []}), children=world.children)).resource
    world.live()
    for _ in range(4):
        world.step()
        world.live()
    assert world.gone
    assert f"apply Job clicks-{REVISION}-purge" in world.written
    assert set(world.topics) == {"dead-letter-queue"}


def test_deleted_before_anything_was_valid() -> None:
    world = World(featureset({"features": [], "deletionPolicy": "Delete"}, finalizers=[names.FINALIZER]))
    deleted(world)
    assert [write.verb for write in world.plan().writes] == ["remove-finalizer"]


def test_what_was_copied_is_forgotten_with_the_copies() -> None:
    source = {"topic": "clicks", "partitions": 6, "replication": 1, "rekey": True}
    world = served({"source": source, "deletionPolicy": "Delete"})
    deleted(world).settle()
    written = world.written
    assert "delete-topic topic clicks.by.user" in written
    assert "delete-group group freshet.rekey.clicks.by.user" in written
