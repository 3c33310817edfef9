"""Which spec counts: the one that was applied, or the last one that could be used."""

from __future__ import annotations

import copy

import pytest

from freshet_operator import names
from freshet_operator.model import Object
from tests.operator.pure import changed_definition, conditions, edited, featureset, message
from tests.operator.world import DEPLOYMENT, REVISION, World, served, whats


@pytest.mark.parametrize(
    ("spec", "phase", "reason"),
    [
        ({"features": [{"name": "x", "aggregate": "nonsense"}]}, "Invalid", "InvalidSpec"),
        (changed_definition(), "Degraded", "DefinitionChanged"),
    ],
)
def test_a_spec_that_cannot_be_used_changes_nothing(spec: Object, phase: str, reason: str) -> None:
    world = served()
    before, entries = copy.deepcopy(world.children), world.entries
    world.resource = edited(world.resource, spec)
    first = world.step()
    assert (first.writes, first.status["phase"], first.status["reason"]) == ((), phase, reason)
    assert [(event.type, event.reason) for event in first.events] == [("Warning", reason)]
    assert conditions(first.status)["Ready"] == ("False", reason)
    assert conditions(first.status)["Degraded"] == ("True", reason)
    assert conditions(first.status)["Serving"] == ("True", "LastValidVersion")
    assert conditions(first.status)["ServingConfigured"][0] == "True"
    assert first.status["serving"] == {"version": "v1", "revision": REVISION}
    assert first.status["observedGeneration"] == 2
    assert world.step().events == ()
    world.configure()
    assert world.entries == entries
    del world.children[DEPLOYMENT]
    assert whats(world) == [f"apply Deployment clicks-{REVISION}"]
    world.settle()
    same = {key: item["metadata"]["annotations"][names.HASH] for key, item in world.children.items()}
    assert same == {key: item["metadata"]["annotations"][names.HASH] for key, item in before.items()}
    world.resource = edited(world.resource, featureset()["spec"])
    assert world.settle().status["phase"] == "Serving"


def test_a_changed_definition_says_what_to_do() -> None:
    world = served()
    world.resource = edited(world.resource, changed_definition())
    said = message(world.plan().status, "Ready")
    for words in ("v2", "version v1", REVISION, "another name"):
        assert words in said


@pytest.mark.parametrize("seen", ["status", "revision alone"])
@pytest.mark.parametrize("looks", [1, 2, 3])
def test_a_definition_changed_before_anything_is_served_is_refused_too(looks: int, seen: str) -> None:
    """Its processors may have written keys; `revision alone`: a crash before the first status."""
    world = World(featureset())
    for _ in range(looks):
        world.step()
    if seen == "revision alone":
        world.resource.pop("status")
        world.children = {key: item for key, item in world.children.items() if key[0] == "ControllerRevision"}
    world.resource = edited(world.resource, changed_definition())
    planned = world.rest()
    assert conditions(planned.status)["Ready"] == ("False", "DefinitionChanged")
    said = message(planned.status, "Ready")
    for words in ("v2", "version v1", REVISION, "was applied first", "delete this one", "another name"):
        assert words in said
    assert [key for key in world.children if key[0] == "Deployment"] == [DEPLOYMENT]
    assert planned.status["versions"][0]["revision"] == REVISION
    world.resource = edited(world.resource, featureset()["spec"])
    assert world.settle().status["phase"] == "Serving"


def test_a_refused_definition_does_not_keep_the_first_from_being_served() -> None:
    world = World(featureset())
    world.step()
    world.resource = edited(world.resource, changed_definition())
    planned = world.settle()
    assert planned.status["serving"] == {"version": "v1", "revision": REVISION}
    assert conditions(planned.status)["Ready"] == ("False", "DefinitionChanged")
    assert "is served" in message(planned.status, "Ready")
    world.resource = edited(world.resource, {"version": "v1", "features": featureset()["spec"]["features"]})
    assert world.settle().status["phase"] == "Serving"


def test_what_was_never_valid_binds_to_nothing() -> None:
    world = World(featureset({"features": []}))
    world.rest()
    world.resource = edited(world.resource, changed_definition())
    assert world.settle().status["serving"]["version"] == "v2"


def test_a_spec_that_never_was_valid_makes_nothing() -> None:
    world = World(featureset({"features": []}))
    planned = world.rest()
    assert world.children == {}
    assert (planned.status["phase"], planned.status["reason"]) == ("Invalid", "InvalidSpec")
    assert "spec.features" in planned.status["message"]
    assert conditions(planned.status)["TopicsReady"] == ("Unknown", "NoValidSpec")
    world.resource = edited(world.resource, {"features": featureset()["spec"]["features"]})
    assert world.settle().status["phase"] == "Serving"


def test_with_its_last_valid_spec_lost_nothing_is_touched() -> None:
    world = served()
    for key in [key for key in world.children if key[0] == "ControllerRevision"]:
        del world.children[key]
    world.resource = edited(world.resource, {"features": []})
    planned = world.rest()
    assert DEPLOYMENT in world.children
    assert conditions(planned.status)["Serving"][0] == "True"


def test_the_last_valid_spec_is_one_of_what_is_served() -> None:
    world = served()
    kept = next(item for (kind, _), item in world.children.items() if kind == "ControllerRevision")
    newer = copy.deepcopy(kept)
    newer["metadata"] |= {"name": "clicks-ffffffffff", "uid": "newer"}
    newer |= {"revision": 9, "data": {"spec": {**featureset()["spec"], **changed_definition()}}}
    world.children["ControllerRevision", "clicks-ffffffffff"] = newer
    world.resource = edited(world.resource, {"features": []})
    planned = world.rest()
    assert planned.status["lastValid"]["name"] == kept["metadata"]["name"]
    assert planned.status["versions"][0]["revision"] == REVISION
