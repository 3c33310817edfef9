"""Stories of a FeatureSet from its first look on."""

from __future__ import annotations

import copy

from freshet.spec.resource import featureset_of
from freshet.spec.topics import horizon_ms
from freshet_operator import names
from freshet_operator.desired import wanted_topics
from freshet_operator.model import Figures, Object
from freshet_operator.plan import plan
from freshet_operator.plan.compiled import compiled
from tests.operator.pure import NOW, conditions, edited, featureset, message, settings
from tests.operator.world import DEPLOYMENT, REVISION, World, served, whats


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
    world.rebuilding = {2, 5}
    third = world.step()
    assert (third.status["phase"], third.status["reason"]) == ("CatchingUp", "CatchingUp")
    assert message(third.status, "BackfillComplete") == "4 of 6 partitions are built"
    world.rebuilding = set()
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


def test_lag_that_stays_scales_up_and_calm_down_slowly() -> None:
    world = served()
    world.figures = Figures(1, 0.2, 80.0)
    world.lag = 3500
    for replicas in (1, 2, 4):
        planned = world.settle()
        assert world.children[DEPLOYMENT]["spec"]["replicas"] == replicas
        world.now_ms += 60_000
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


def test_a_plan_does_not_depend_on_what_was_compiled_before() -> None:
    world = World(featureset({"version": "only-here"}))
    first = plan(world.observe(), settings(), NOW)
    assert plan(world.observe(), settings(), NOW) == first
    full = featureset_of(world.resource)
    assert horizon_ms(compiled(world.resource).definition) == horizon_ms(full.definition)
    assert wanted_topics(compiled(world.resource), settings()) == wanted_topics(full, settings())
