"""`kubectl apply` of a FeatureSet: what comes of it, and what `kubectl get` and `describe` tell."""

from __future__ import annotations

import json
import re

import pytest

from freshet.dev.servers import EmbeddedKafka
from tests.cluster.api import Api, Object
from tests.cluster.installation import Installation
from tests.cluster.kafka import Topics
from tests.cluster.samples import featureset
from tests.cluster.snapshot import children, serving_config

NAME = "shop"
CONDITIONS = {
    "Ready", "Serving", "Progressing", "TopicsReady", "ProcessorReady", "BackfillComplete", "ServingConfigured",
    "Paused", "Degraded",
}  # fmt: skip


@pytest.fixture(scope="module")
def made(kube: Api, shared: Installation) -> Object:
    """A FeatureSet that the operator has dealt with."""
    kube.create(featureset(shared.namespace, NAME, f"{shared.namespace}-events"))
    shared.wait_condition(NAME, "TopicsReady", "True", seconds=45)
    return shared.wait_observed(NAME)


@pytest.fixture(scope="module")
def found(kube: Api, shared: Installation, made: Object) -> dict[str, Object]:
    """Its children by kind."""
    return {obj["kind"]: obj for obj in children(kube, shared.namespace, NAME)}


def test_one_child_of_each_kind(kube: Api, shared: Installation, found: dict[str, Object]) -> None:
    kinds = [obj["kind"] for obj in children(kube, shared.namespace, NAME)]
    assert sorted(kinds) == [
        "ConfigMap", "ControllerRevision", "Deployment", "NetworkPolicy", "PodDisruptionBudget", "ServiceAccount"
    ]  # fmt: skip


def test_names_say_what_they_belong_to(found: dict[str, Object]) -> None:
    revision = found["Deployment"]["metadata"]["labels"]["freshet.dev/revision"]
    assert re.fullmatch("[0-9a-f]{10}", revision)
    names = {kind: obj["metadata"]["name"] for kind, obj in found.items()}
    assert names["Deployment"] == names["ConfigMap"] == names["PodDisruptionBudget"] == f"{NAME}-{revision}"
    assert names["ServiceAccount"] == names["NetworkPolicy"] == f"{NAME}-processor"
    assert re.fullmatch(f"{NAME}-[0-9a-f]{{10}}", names["ControllerRevision"])


def test_every_child_is_owned_and_labelled(made: Object, found: dict[str, Object]) -> None:
    for obj in found.values():
        (owner,) = obj["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["uid"]) == ("FeatureSet", NAME, made["metadata"]["uid"])
        assert owner["controller"] is True
        assert obj["metadata"]["labels"]["freshet.dev/featureset"] == NAME
        assert "freshet.dev/desired-hash" in obj["metadata"]["annotations"]


def test_the_deployment_passes_the_restricted_standard_and_runs_the_settings(found: dict[str, Object]) -> None:
    spec = found["Deployment"]["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert container["image"] == "freshet/none:1"
    assert container["imagePullPolicy"] == "Never"
    assert spec["serviceAccountName"] == f"{NAME}-processor"
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"]["drop"] == ["ALL"]
    env = {e["name"]: e.get("value") for e in container["env"]}
    assert env["FRESHET_MANIFESTS"] == "/etc/freshet/manifests/featureset.json"
    assert env["FRESHET_REDIS"] == "redis://redis.invalid:6379"


def test_the_config_map_holds_the_reduced_manifest(shared: Installation, found: dict[str, Object]) -> None:
    manifest = json.loads(found["ConfigMap"]["data"]["featureset.json"])
    assert manifest["metadata"] == {"name": NAME, "namespace": shared.namespace}
    assert not {"processor", "rollout", "history", "drift", "deletionPolicy", "suspend"} & set(manifest["spec"])
    assert manifest["spec"]["source"]["topic"] == f"{shared.namespace}-events"


def test_the_serving_config_map_serves_it(kube: Api, shared: Installation, made: Object) -> None:
    def served() -> list[str]:
        found = serving_config(kube, shared.namespace) or {"featuresets": []}
        return [entry["metadata"]["name"] for entry in found["featuresets"]]

    assert shared.until(served, 20, "an entry in the serving ConfigMap") == [NAME]


def test_topics_are_made_as_the_engine_needs_them(kafka: EmbeddedKafka, shared: Installation, made: Object) -> None:
    topics = Topics(kafka.bootstrap)
    events = f"{shared.namespace}-events"
    assert topics.partitions(events) == 2
    config = topics.config(events)
    assert config["message.timestamp.type"] == "LogAppendTime"
    assert config["retention.ms"] == str(8 * 86_400_000)
    assert topics.partitions(f"{events}-out") == 2
    assert topics.partitions(f"{shared.namespace}-dead") > 0


def test_status_says_everything_from_the_first_visit(kafka: EmbeddedKafka, shared: Installation, made: Object) -> None:
    status = shared.status(NAME)
    conditions = {c["type"]: c for c in status["conditions"]}
    assert set(conditions) >= CONDITIONS
    for condition in conditions.values():
        assert condition["status"] in ("True", "False", "Unknown")
        assert re.fullmatch("[A-Z][A-Za-z]+", condition["reason"]), condition
        assert condition["observedGeneration"] == made["metadata"]["generation"]
    assert conditions["TopicsReady"]["status"] == "True"
    assert conditions["Ready"]["status"] == "False"  # there is no image to run
    assert status["version"] == "v1"
    identity = Topics(kafka.bootstrap).identity(f"{shared.namespace}-events")
    (source,) = [t for t in status["topics"] if t["name"] == f"{shared.namespace}-events"]
    assert (source["id"], source["partitions"], source["managed"]) == (identity, 2, True)


def test_kubectl_get_shows_one_line_that_tells(kube: Api, shared: Installation, made: Object) -> None:
    (row,) = kube.table("FeatureSet", shared.namespace)
    assert list(row)[:8] == ["Name", "Version", "Serving", "Ready", "Phase", "Lag", "Freshness", "Reason"]
    assert row["Name"] == NAME
    assert row["Version"] == "v1"
    assert row["Ready"] == "False"
    assert row["Phase"]
    assert row["Reason"]


def test_nothing_secret_and_no_flood_in_events(kube: Api, shared: Installation, made: Object) -> None:
    events = shared.until(shared.events, 10, "an event")
    for event in events:
        assert event["type"] in ("Normal", "Warning")
        assert re.fullmatch("[A-Z][A-Za-z]+", event["reason"])
        assert event["involvedObject"]["uid"] == made["metadata"]["uid"]
    keys = [(e["reason"], e["message"]) for e in events]
    assert len(keys) == len(set(keys)), "equal events are one Event with a count"
