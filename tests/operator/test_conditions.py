"""What people are told: reasons of pods and topics, conditions, phase."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from freshet.spec.resource import featureset_of
from freshet_operator import names
from freshet_operator.desired import wanted_topics
from freshet_operator.model import Claim, KafkaSeen, Object, ServingSeen, Topic
from freshet_operator.plan import experiment_plan, plan
from freshet_operator.plan.conditions import TYPES, Verdict, merged
from freshet_operator.plan.drift import contains
from freshet_operator.plan.pods import processor_verdict
from tests.operator.pure import (
    NOW,
    conditions,
    featureset,
    message,
    observed,
    settings,
    topic_seen,
    topics_seen,
)
from tests.operator.world import REVISION, World, served


def deployment(wanted: int = 2, available: int = 0, *more: Object) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": f"clicks-{REVISION}", "namespace": "shop", "generation": 1},
        "spec": {"replicas": wanted},
        "status": {"observedGeneration": 1, "availableReplicas": available, "conditions": list(more)},
    }


def pod(name: str = "clicks-1", phase: str = "Pending", scheduled: Object | None = None, **container: Any) -> Object:
    labels = names.labels("clicks", REVISION)
    return {
        "metadata": {"name": name, "namespace": "shop", "labels": labels, "creationTimestamp": "2026-01-05T10:00:00Z"},
        "spec": {"containers": [{"name": "processor", "image": "freshet/workers:oops"}]},
        "status": {
            "phase": phase,
            "conditions": [scheduled] if scheduled else [],
            "containerStatuses": [{"name": "processor", "ready": False, "restartCount": 0, **container}],
        },
    }


def waiting(reason: str, said: str = "") -> Object:
    return {"waiting": {"reason": reason, "message": said}}


NO_NODE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available"}
QUOTA = {
    "type": "ReplicaFailure",
    "status": "True",
    "reason": "FailedCreate",
    "message": 'pods "clicks-1" is forbidden: exceeded quota: small, requested: cpu=1, used: cpu=4, limited: cpu=4',
}
SECURITY = {"type": "ReplicaFailure", "status": "True", "message": 'violates PodSecurity "restricted:latest"'}
LATE = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
CRASHED = {"terminated": {"exitCode": 1, "reason": "Error"}}
KILLED = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}


@pytest.mark.parametrize(
    ("pods", "conditions", "available", "reason", "says"),
    [
        ([pod(state=waiting("ImagePullBackOff"))], [], 0, "ImagePull", "freshet/workers:oops"),
        ([pod(state=waiting("ErrImagePull"))], [], 1, "ImagePull", "image.*secrets; meanwhile 1 of 2 processors work$"),
        ([pod(state=waiting("InvalidImageName"))], [], 0, "ImagePull", "image pull secrets$"),
        (
            [pod(state=waiting("CreateContainerConfigError", 'secret "freshet-store" not found'))],
            [],
            0,
            "MissingSecret",
            'secret "freshet-store" not found; make the Secret .* namespace shop',
        ),
        (
            [pod(state=waiting("CreateContainerConfigError", "couldn't find key redis in Secret shop/freshet-store"))],
            [],
            0,
            "MissingSecret",
            "redis",
        ),
        ([pod(state=waiting("CreateContainerConfigError", 'configmap "x" not found'))], [], 0, "ContainerConfig", "x"),
        ([pod(state=waiting("CrashLoopBackOff"), lastState=CRASHED)], [], 0, "CrashLooping", "exit code 1.*logs"),
        ([pod(state={"running": {}}, restartCount=3, lastState=KILLED)], [], 0, "CrashLooping", "memory limit"),
        ([pod(state={"running": {}}, restartCount=1, lastState=CRASHED)], [], 0, "NotReady", "0 of 2"),
        ([pod(scheduled=NO_NODE)], [], 0, "Unschedulable", "0/3 nodes.*add nodes"),
        ([pod(scheduled=NO_NODE)], [], 1, "Unschedulable", "clicks-1"),
        ([pod("a", scheduled=NO_NODE), pod("b", state=waiting("ErrImagePull"))], [], 0, "ImagePull", "b"),
        ([], [QUOTA], 1, "QuotaExceeded", "exceeded quota.*ResourceQuota"),
        ([], [SECURITY], 0, "PodsRefused", "PodSecurity"),
        ([pod(state={"running": {}})], [LATE], 1, "Stalled", "no progress"),
        ([pod(state=waiting("ContainerCreating"))], [], 0, "NotReady", "Secret freshet-store"),
        ([], [], 0, "NotReady", "0 of 2"),
        ([], [], 1, "Available", "1 of 2 processors work, others start"),
        ([], [], 2, "Available", "2 of 2"),
    ],
)
def test_reasons_of_processors(
    pods: list[Object], conditions: list[Object], available: int, reason: str, says: str
) -> None:
    found = processor_verdict(deployment(2, available, *conditions), pods, {}, "freshet-store", NOW)
    assert (found.reason, found.is_true) == (reason, reason == "Available")
    assert re.search(says, found.message), found.message


def test_a_pod_that_is_made_gets_a_minute() -> None:
    young = pod(state=waiting("ContainerCreating"))
    young["metadata"]["creationTimestamp"] = "2026-01-05T10:29:30Z"
    assert processor_verdict(deployment(), [young], {}, "freshet-store", NOW).message == "0 of 2 processors work yet"


def test_only_the_revisions_living_pods_count() -> None:
    world = served()
    bad = waiting("ImagePullBackOff")
    old, purge, ending, ended = (pod(f"p{i}", state=bad) for i in range(4))
    old["metadata"]["labels"][names.LABEL_REVISION] = "0" * 10
    purge["metadata"]["labels"]["app.kubernetes.io/component"] = "purge"
    ending["metadata"]["deletionTimestamp"] = "2026-01-05T10:29:30Z"
    ended["status"]["phase"] = "Failed"
    world.pods = [old, purge, ending, ended]
    assert conditions(world.plan().status)["ProcessorReady"] == ("True", "Available")
    world.pods.append(pod("p9", state=bad))
    status = world.plan().status
    assert conditions(status)["ProcessorReady"] == ("False", "ImagePull")
    assert (status["phase"], status["reason"]) == ("Degraded", "ImagePull")
    assert conditions(status)["Serving"][0] == "True"


def test_what_somebody_must_do_comes_before_what_passes() -> None:
    world = World(featureset())
    world.rest()
    world.topics.clear()
    world.pods = [pod(state=waiting("CreateContainerConfigError", 'secret "freshet-store" not found'))]
    status = world.plan().status
    assert conditions(status)["TopicsReady"] == ("False", "Creating")
    assert (status["reason"], status["phase"]) == ("MissingSecret", "Pending")
    assert conditions(status)["Progressing"] == ("False", "Blocked")


def other(topics: tuple[Topic, ...], **changes: Any) -> Claim:
    return replace(Claim("games", "plays", "2025-01-01T00:00:00Z", topics), **changes)


SOURCE = wanted_topics(featureset_of(featureset()), settings())[0]
MORE = replace(SOURCE, partitions=12)


@pytest.mark.parametrize(
    ("claim", "conflict"),
    [
        (other((SOURCE,)), False),
        (other((MORE,)), True),
        (other((replace(SOURCE, config=(("retention.ms", "1"),)),)), True),
        (other((MORE,), created="2027-01-01T00:00:00Z"), False),  # the other one is told
        (other((MORE,), created="2026-01-01T00:00:00Z"), True),  # games before shop
        (other((MORE,), created="2026-01-01T00:00:00Z", namespace="tools"), False),
        (other((MORE,), deleting=True), False),
        (other((replace(MORE, manage=False),)), False),
        (other((replace(SOURCE, name="plays"), MORE)), True),  # what they write is what we read
        (other((replace(SOURCE, name="plays"), replace(MORE, name="click-features"))), False),  # shared output
        (other((replace(SOURCE, replication=0, config=()),)), False),  # known by its status alone
        (other((replace(MORE, replication=0, config=()),)), True),
        (
            other((replace(SOURCE, name="plays"), replace(MORE, lenient=True))),
            False,
        ),  # re-keyed: any partitions will do
    ],
)
def test_conflicts_are_told_to_the_later_one(claim: Claim, conflict: bool) -> None:
    planned = plan(observed(featureset(), claims=(claim,), kafka=KafkaSeen()), settings(), NOW)
    made = [write.what for write in planned.writes if write.verb == "create-topic"]
    assert (conditions(planned.status)["TopicsReady"] == ("False", "ResourceConflict")) == conflict
    assert made == [] if conflict else len(made) == 3
    if conflict:
        assert "games/plays" in message(planned.status, "TopicsReady")


def test_a_retention_that_differs_is_told_in_days_too() -> None:
    theirs = replace(SOURCE, config=tuple({**dict(SOURCE.config), "retention.ms": "86400000"}.items()))
    planned = plan(observed(featureset(), claims=(other((theirs,)),), kafka=KafkaSeen()), settings(), NOW)
    assert "retention.ms=86400000 (1d) instead of" in message(planned.status, "TopicsReady")


@pytest.mark.parametrize(
    ("source", "reason", "says"),
    [
        ({"partitions": 3}, "PartitionMismatch", "has 3 partitions, spec.source.partitions is 6"),
        ({"timestamp_type": "CreateTime"}, "WrongTimestampType", "LogAppendTime"),
        ({"retention_ms": 86_400_000}, "RetentionTooShort", r"\(1d\)"),
        ({"retention_ms": -1}, "Present", ""),
        ({"retention_ms": None, "timestamp_type": None}, "Present", ""),
    ],
)
def test_topics_that_are_not_what_is_needed(source: Any, reason: str, says: str) -> None:
    topics = {**topics_seen(), "clicks": topic_seen("clicks", **source)}
    planned = plan(observed(featureset(), kafka=KafkaSeen(topics, 0)), settings(), NOW)
    assert conditions(planned.status)["TopicsReady"][1] == reason
    assert re.search(says, message(planned.status, "TopicsReady"))
    assert not [write for write in planned.writes if "topic" in write.verb]


def test_topics_of_others_are_never_made() -> None:
    given = featureset({"source": {"topic": "clicks", "partitions": 6, "manage": False}})
    planned = plan(observed(given, kafka=KafkaSeen({}, None)), settings(), NOW)
    assert conditions(planned.status)["TopicsReady"] == ("False", "TopicMissing")
    assert "clicks, click-features, dead-letter-queue" in message(planned.status, "TopicsReady")
    assert not [write for write in planned.writes if "topic" in write.verb]


def test_kafka_away_shows_and_the_rest_goes_on() -> None:
    planned = plan(observed(featureset(), kafka=KafkaSeen(error="_TRANSPORT: no broker")), settings(), NOW)
    assert conditions(planned.status)["TopicsReady"] == ("Unknown", "KafkaUnavailable")
    assert planned.status["reason"] == "KafkaUnavailable"
    assert "no broker" in planned.status["message"]
    assert any(write.what.startswith("Deployment") for write in planned.writes)
    world = served()
    before = world.resource["status"]
    world.kafka_error = "_TRANSPORT: no broker"
    status = world.rest().status
    assert (status["phase"], status["topics"], status["versions"]) == (
        "Degraded",
        before["topics"],
        before["versions"],
    )
    assert conditions(status)["Serving"][0] == "True"
    assert conditions(status)["BackfillComplete"][0] == "True"
    assert "lag" not in status
    world.kafka_error = None
    assert world.settle().status["phase"] == "Serving"


def test_a_name_is_served_once() -> None:
    older = Claim("games", "clicks", "2025-01-01T00:00:00Z", ())
    world = served()
    world.claims = (older,)
    status = world.plan().status
    assert conditions(status)["ServingConfigured"] == ("False", "NameConflict")
    assert conditions(status)["Serving"] == ("False", "NameConflict")
    assert "games/clicks" in message(status, "ServingConfigured")
    assert [event.reason for event in world.plan().events] == ["NameConflict"]
    assert world.plan().serving_changed
    for harmless in (replace(older, created="2027"), replace(older, deleting=True), replace(older, name="x")):
        world.claims = (harmless,)
        assert conditions(world.plan().status)["Ready"][0] == "True"


def test_silent_pods_are_named_and_what_was_served_stays_served() -> None:
    world = World(featureset())
    world.settle()
    hash_now = world.serving_pods["serving-1"]
    for pods, configured, serving in (
        ({"serving-1": None, "ingest-1": hash_now}, "WaitingForAck", "True"),
        ({"serving-1": "of another FeatureSet", "ingest-1": hash_now}, "Acked", "True"),
        ({"serving-1": "of another FeatureSet"}, "Acked", "True"),
        ({"serving-1": None}, "WaitingForAck", "False"),
        ({}, "NoServingPods", "False"),
    ):
        world.serving_pods = dict(pods)
        status = world.plan().status
        assert conditions(status)["ServingConfigured"][1] == configured, pods
        assert conditions(status)["Serving"][0] == serving, pods
    world.serving_pods = {"serving-1": None, "ingest-1": hash_now}
    assert "serving-1" in message(world.plan().status, "ServingConfigured")
    assert conditions(world.plan().status)["Ready"][0] == "True"


def test_not_served_before_a_pod_has_read_it() -> None:
    world = World(featureset())
    world.rest()
    world.live()
    world.serving_pods = {"serving-1": "older"}
    status = world.rest().status
    assert conditions(status)["ServingConfigured"] == ("False", "WaitingForAck")
    assert conditions(status)["Serving"] == ("False", "NoVersion")
    assert (status["phase"], status["reason"]) == ("Provisioning", "WaitingForAck")
    assert "serving" not in status


def test_a_configuration_that_does_not_fit_is_said() -> None:
    world = World(featureset())
    world.rest()
    seen = replace(world.observe(), serving=ServingSeen({}, None, {"s": "x"}, error="too many FeatureSets"))
    status = plan(seen, settings(), NOW).status
    assert conditions(status)["ServingConfigured"] == ("False", "ConfigTooLarge")


def test_times_move_with_the_status_alone() -> None:
    first = {"conditions": merged({}, {"Ready": Verdict("False", "A", "a")}, 1, NOW)}
    second = {"conditions": merged(first, {"Ready": Verdict("False", "B", "b")}, 2, NOW + 5000)}
    third = merged(second, {"Ready": Verdict("True", "C")}, 2, NOW + 9000)
    assert first["conditions"][0]["lastTransitionTime"] == "2026-01-05T10:30:00Z"
    assert second["conditions"][0]["lastTransitionTime"] == "2026-01-05T10:30:00Z"
    assert (second["conditions"][0]["reason"], second["conditions"][0]["observedGeneration"]) == ("B", 2)
    assert third[0]["lastTransitionTime"] == "2026-01-05T10:30:09Z"
    assert merged({"conditions": third}, {}, 3, NOW) == third


def test_all_conditions_from_the_first_look() -> None:
    for given in (featureset(), featureset({"features": []})):
        status = plan(observed(given), settings(), NOW).status
        assert [one["type"] for one in status["conditions"]] == list(TYPES)
        assert all(one["reason"] and one["lastTransitionTime"] for one in status["conditions"])


@pytest.mark.parametrize(
    ("live", "wanted", "same"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"a": 2}, {"a": 1}, False),
        ({}, {"a": {}}, True),
        ({}, {"a": ""}, True),
        ({}, {"a": 0}, False),
        ({"a": True}, {"a": 1}, False),
        ({"limits": {"cpu": "500m"}}, {"limits": {"cpu": "0.5"}}, True),
        ({"limits": {"memory": "1Gi"}}, {"limits": {"memory": "1024Mi"}}, True),
        ({"limits": {"memory": "1Gi"}}, {"limits": {"memory": "1G"}}, False),
        ({"limits": {"memory": "1e3"}}, {"limits": {"memory": 1000}}, True),
        ({"limits": {}}, {"limits": {"memory": "1G"}}, False),
        ({"sizeLimit": "64Mi"}, {"sizeLimit": "65536Ki"}, True),
        ({"env": [{"name": "B", "value": "2"}, {"name": "A", "value": "1"}]}, {"env": [{"name": "A"}]}, True),
        ({"env": [{"name": "A", "value": "2"}]}, {"env": [{"name": "A", "value": "1"}]}, False),
        ({"env": []}, {"env": [{"name": "A"}]}, False),
        ({"args": ["a", "b"]}, {"args": ["a"]}, False),
        ({"args": ["a"]}, {"args": ["a"]}, True),
        ({"from": [{"x": 1}]}, {"from": [{"x": 1}, {"y": 1}]}, False),
        ({"a": "text"}, {"a": {"b": 1}}, False),
        (None, {"a": 1}, False),
    ],
)
def test_drift(live: Any, wanted: Any, same: bool) -> None:
    assert contains(live, wanted) is same


def experiment(**spec: Any) -> Object:
    variants = [{"name": "A", "version": "v1", "control": True}, {"name": "B", "version": "v2"}]
    return {
        "apiVersion": "freshet.dev/v1alpha1",
        "kind": "Experiment",
        "metadata": {"name": "e", "namespace": "shop", "generation": 3},
        "spec": {"featureSet": "clicks", "unit": "user", "variants": variants, **spec},
    }


@pytest.mark.parametrize(
    ("spec", "phase", "reason"),
    [({}, "NotImplemented", "NotImplemented"), ({"variants": []}, "Invalid", "InvalidSpec")],
)
def test_experiments_are_checked_and_not_run(spec: Any, phase: str, reason: str) -> None:
    resource = experiment(**spec)
    first = experiment_plan(resource, NOW)
    assert (first.writes, first.status["phase"], first.status["reason"]) == ((), phase, reason)
    assert (first.status["observedGeneration"], [event.reason for event in first.events]) == (3, [reason])
    second = experiment_plan({**resource, "status": first.status}, NOW + 60_000)
    assert (second.status, second.events) == (first.status, ())
