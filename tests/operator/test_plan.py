"""Stories of a FeatureSet, from its first look to its end."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from freshet.spec.resource import featureset_of
from freshet.spec.topics import horizon_ms
from freshet_operator import names
from freshet_operator.desired import wanted_topics
from freshet_operator.desired.serving import entry
from freshet_operator.model import Claim, Figures, Object
from freshet_operator.plan import needed_revision, plan, served_entries
from freshet_operator.plan.compiled import compiled
from tests.operator.pure import NOW, changed_definition, conditions, edited, featureset, message, settings
from tests.operator.test_conditions import served
from tests.operator.world import World

REVISION = featureset_of(featureset()).definition.revision
DEPLOYMENT = ("Deployment", f"clicks-{REVISION}")


def test_a_configuration_that_is_deleted_is_still_what_pods_answer_by() -> None:
    world = served()
    world.entries = ()
    status = world.plan().status
    assert conditions(status)["Serving"][0] == "True"
    assert conditions(status)["ServingConfigured"] == ("False", "WaitingForAck")
    assert world.plan().serving_changed


def whats(world: World) -> list[str]:
    return [f"{write.verb} {write.what}" for write in world.plan().writes]


def test_from_nothing_to_serving() -> None:
    world = World(featureset())
    first = world.step()
    assert [write.verb for write in first.writes] == ["create-topic"] * 3 + ["apply"] * 6
    assert first.writes[-1].what == f"Deployment clicks-{REVISION}"
    assert (first.status["phase"], first.status["reason"]) == ("Pending", "Creating")
    assert first.requeue_after <= 2
    assert not first.serving_changed
    second = world.step()
    assert second.writes == ()
    assert second.status["phase"] == "Provisioning"
    assert second.serving_changed
    world.live()
    world.lag = 5000
    third = world.step()
    assert (third.status["phase"], third.status["reason"]) == ("CatchingUp", "CatchingUp")
    world.lag = 10
    world.live()
    last = world.settle()
    assert last.status["phase"] == "Serving"
    assert last.status["serving"] == {"version": "v1", "revision": REVISION}
    assert (last.status["reason"], last.status["lag"], last.status["observedGeneration"]) == ("", 10, 1)
    assert {one: said[0] for one, said in conditions(last.status).items()} == {
        "Ready": "True",
        "Serving": "True",
        "Progressing": "False",
        "TopicsReady": "True",
        "ProcessorReady": "True",
        "BackfillComplete": "True",
        "ServingConfigured": "True",
        "Paused": "False",
        "Degraded": "False",
    }
    assert last.requeue_after == 20
    assert last.events == ()


def test_events_tell_each_transition_once() -> None:
    world = World(featureset())
    told: list[str] = []
    for _ in range(8):
        told += [event.reason for event in world.step().events]
        world.live()
    for reason in ("TopicsReady", "ProcessorsAvailable", "CaughtUp", "Serving", "Ready"):
        assert told.count(reason) == 1, told


def test_what_is_deleted_or_edited_comes_back() -> None:
    world = served()
    good = copy.deepcopy(world.children)
    for key, item in good.items():
        world.children = {k: copy.deepcopy(v) for k, v in good.items() if k != key}
        assert whats(world) == [f"apply {item['kind']} {item['metadata']['name']}"]
    world.children = copy.deepcopy(good)
    container = world.children[DEPLOYMENT]["spec"]["template"]["spec"]["containers"][0]
    container["image"] = "evil:latest"
    container["securityContext"]["readOnlyRootFilesystem"] = False
    world.children[DEPLOYMENT]["spec"]["replicas"] = 9
    assert whats(world) == [f"apply Deployment clicks-{REVISION}"]
    world.settle()
    assert world.children[DEPLOYMENT]["spec"] == good[DEPLOYMENT]["spec"]


def test_what_others_add_is_left_alone() -> None:
    world = served()
    deployment = world.children[DEPLOYMENT]
    deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "1"
    pod = deployment["spec"]["template"]["spec"]
    pod |= {"dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler", "restartPolicy": "Always"}
    pod["containers"][0] |= {"terminationMessagePath": "/dev/termination-log"}
    pod["containers"][0]["env"].append({"name": "ADDED", "value": "by somebody"})
    assert whats(world) == []


def test_only_what_is_ours_is_pruned() -> None:
    world = served()
    mine: Object = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "old", "namespace": "shop", "uid": "u"},
    }
    owner = world.children[DEPLOYMENT]["metadata"]["ownerReferences"]
    world.children["ConfigMap", "old"] = {**mine, "metadata": {**mine["metadata"], "ownerReferences": owner}}
    world.children["ConfigMap", "foreign"] = {**mine, "metadata": {**mine["metadata"], "name": "foreign"}}
    assert whats(world) == ["delete ConfigMap old"]
    world.rest()
    assert ("ConfigMap", "foreign") in world.children


def test_a_name_that_somebody_else_owns_is_waited_for() -> None:
    world = served()
    uid = "of-a-featureset-before"
    world.children[DEPLOYMENT]["metadata"]["ownerReferences"] = [{"controller": True, "uid": uid, "name": "clicks"}]
    planned = world.plan()
    assert planned.writes == ()
    assert conditions(planned.status)["ProcessorReady"] == ("False", "NameTaken")
    world.children[DEPLOYMENT]["metadata"]["ownerReferences"] = []  # orphaned: taken in
    assert whats(world) == [f"apply Deployment clicks-{REVISION}"]


def test_five_specs_are_kept() -> None:
    world = served()
    for number in range(7):
        world.resource = edited(
            world.resource, {"processor": {"maxReplicas": 2 + number % 3, "targetLag": 10 + number}}
        )
        world.settle()
    kept = [item["revision"] for (kind, _), item in world.children.items() if kind == "ControllerRevision"]
    assert sorted(kept) == [4, 5, 6, 7, 8]
    assert world.resource["status"]["lastValid"]["generation"] == 8


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


def test_until_something_is_served_the_definition_may_change() -> None:
    world = World(featureset())
    world.rest()
    world.resource = edited(world.resource, changed_definition())
    planned = world.rest()
    assert planned.status["versions"][0]["version"] == "v2"
    deployments = [name for kind, name in world.children if kind == "Deployment"]
    assert deployments == [f"clicks-{featureset_of(world.resource).definition.revision}"]


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


def test_deployment_fields_apply_in_place() -> None:
    world = served()
    world.resource = edited(world.resource, {"processor": {"minReplicas": 3, "maxReplicas": 4}})
    planned = world.plan()
    kinds = [write.what.split()[0] for write in planned.writes]
    assert kinds == ["ControllerRevision", "Deployment"]
    assert [event.reason for event in planned.events if event.reason == "Scaled"] == ["Scaled"]
    status = world.settle().status
    assert (status["phase"], status["replicas"], status["lastValid"]["generation"]) == ("Serving", 3, 2)


def test_suspended_and_resumed() -> None:
    world = served()
    world.resource = edited(world.resource, {"suspend": True})
    planned = world.settle()
    assert world.children[DEPLOYMENT]["spec"]["replicas"] == 0
    assert planned.status["phase"] == "Suspended"
    assert conditions(planned.status)["Paused"] == ("True", "Suspended")
    assert conditions(planned.status)["Serving"][0] == "True"
    assert conditions(planned.status)["Degraded"][0] == "False"
    assert len(world.entries) == 1
    world.resource = edited(world.resource, {"suspend": False})
    assert world.settle().status["phase"] == "Serving"
    assert world.children[DEPLOYMENT]["spec"]["replicas"] == 1


def test_paused_nothing_is_written_but_the_status() -> None:
    world = served()
    world.resource["metadata"]["annotations"] = {names.PAUSED: "true"}
    before = world.entries
    world.resource = edited(world.resource, {"entityTtl": "900h", "deletionPolicy": "Delete"})
    del world.children[DEPLOYMENT]
    planned = world.rest()
    world.configure()
    assert DEPLOYMENT not in world.children
    assert world.entries == before
    assert planned.status["phase"] == "Paused"
    assert planned.status["lastValid"]["generation"] == 1
    assert conditions(planned.status)["ServingConfigured"] == ("True", "Acked")
    assert conditions(planned.status)["Paused"] == ("True", "UserRequested")
    assert "finalizers" not in world.resource["metadata"]
    world.resource["metadata"]["annotations"] = {}
    assert world.settle().status["phase"] == "Serving"
    assert world.entries != before
    assert names.FINALIZER in world.resource["metadata"]["finalizers"]


def test_lag_scales_up_at_once_and_calm_down_slowly() -> None:
    world = served()
    world.figures = Figures(1, 0.2, 80.0)
    world.lag = 3500
    planned = world.settle()
    assert world.children[DEPLOYMENT]["spec"]["replicas"] == 4
    assert (planned.status["replicas"], planned.status["freshness"]) == (4, "80ms")
    world.lag = 0
    world.settle()
    assert world.children[DEPLOYMENT]["spec"]["replicas"] == 4
    for replicas in (3, 2, 1, 1):
        world.now_ms += 301_000
        world.settle()
        assert world.children[DEPLOYMENT]["spec"]["replicas"] == replicas
    world.children[DEPLOYMENT]["spec"]["replicas"] = 7  # kubectl scale
    world.settle()
    assert world.children[DEPLOYMENT]["spec"]["replicas"] == 1


def test_one_that_starts_slowly_is_looked_at_ever_more_seldom() -> None:
    world = World(featureset())
    world.rest()
    seconds = []
    for _ in range(4):
        world.now_ms += 20_000
        seconds.append(world.step().requeue_after)
    assert seconds == sorted(seconds)
    assert seconds[-1] == 20


def test_a_terminating_namespace_is_left_alone() -> None:
    world = World(featureset({"deletionPolicy": "Delete"}), terminating=True)
    assert world.plan().writes == ()


# ---- the end --------------------------------------------------------------------------------------------------


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


# ---- the serving configuration --------------------------------------------------------------------------------


def accepted(state: str = "Serving", generation: int = 1, **metadata: Any) -> Object:
    resource = featureset(**metadata)
    status = {"versions": [{"revision": REVISION, "state": state}]}
    return {**resource, "status": {**status, "lastValid": {"name": "clicks-x", "generation": generation}}}


def test_served_is_what_was_accepted() -> None:
    good = accepted()
    assert served_entries([good], {}) == (entry(good),)
    assert served_entries([featureset()], {}) == ()
    assert served_entries([accepted("Pending")], {}) == ()
    assert served_entries([accepted(deletionTimestamp="2026-01-05T10:30:00Z")], {}) == ()


def test_a_newer_spec_waits_for_its_own_reconcile() -> None:
    newer = edited(accepted(), {"entityTtl": "900h"})
    old = {"spec": featureset()["spec"]}
    assert needed_revision(newer) == "clicks-x"
    assert needed_revision(accepted()) is None
    assert served_entries([newer], {"shop/clicks": old}) == (entry(featureset()),)
    held = entry(featureset({"entityTtl": "800h"}))
    assert served_entries([newer], {}, [held]) == (held,)
    assert served_entries([newer], {}) == ()


def test_the_older_of_one_name_is_served() -> None:
    older = accepted(namespace="zoo", creationTimestamp="2025-01-01T00:00:00Z")
    assert served_entries([accepted(), older], {}) == (entry(older),)
    older["metadata"]["deletionTimestamp"] = "2026-01-05T10:30:00Z"
    assert served_entries([accepted(), older], {}) == (entry(accepted()),)
    silent = featureset(namespace="zoo", creationTimestamp="2025-01-01T00:00:00Z")
    assert served_entries([accepted(), silent], {}) == ()


def test_a_plan_does_not_depend_on_what_was_compiled_before() -> None:
    world = World(featureset({"version": "only-here"}))
    first = plan(world.observe(), settings(), NOW)
    assert plan(world.observe(), settings(), NOW) == first
    full = featureset_of(world.resource)
    assert horizon_ms(compiled(world.resource).definition) == horizon_ms(full.definition)
    assert wanted_topics(compiled(world.resource), settings()) == wanted_topics(full, settings())
