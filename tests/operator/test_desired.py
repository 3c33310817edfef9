"""What a FeatureSet becomes, to the letter: a release that renders otherwise restarts everybody's processors."""

from __future__ import annotations

import base64
import gzip
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from freshet.spec.resource import featureset_of
from freshet_operator import names
from freshet_operator.desired import desired, wanted_topics
from freshet_operator.desired.objects import digest
from freshet_operator.desired.purge import purge_job
from freshet_operator.desired.serving import ServingConfigTooLarge, entry, entry_hash, serving_config
from freshet_operator.model import Object
from freshet_operator.settings import Settings
from tests.operator.pure import featureset, settings

GOLDEN = Path(__file__).parent / "golden"

EVERYTHING: dict[str, Any] = {
    "image": "registry.example.com/freshet/workers@sha256:" + "0" * 64,
    "image_pull_policy": "Always",
    "image_pull_secrets": ("registry",),
    "kafka": "b-1:9094,b-2:9094",
    "redis": "rediss://store.example.com:6379/0",
    "secret": "freshet-store",
    "secret_has_kafka_config": True,
    "secret_has_postgres": True,
    "environment": {"FRESHET_LOG_LEVEL": "debug", "FRESHET_RESIDENT_ENTITIES": "100000"},
    "resources": {"requests": {"cpu": "500m", "memory": "2Gi"}, "limits": {"memory": "2Gi"}},
    "service_account_annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::111122223333:role/freshet"},
    "pod_annotations": {"example.com/team": "ml"},
    "pod_labels": {"cost-center": "42", names.LABEL_FEATURESET: "may-not-win"},
    "node_selector": {"kubernetes.io/arch": "amd64"},
    "tolerations": ({"key": "dedicated", "operator": "Equal", "value": "ml", "effect": "NoSchedule"},),
    "affinity": {"nodeAffinity": {}},
    "priority_class": "important",
    "metrics_from": ({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}},),
    "egress_cidrs": ("10.0.0.0/16",),
    "egress_ports": (9094, 6379),
}


def objects(given: Object, chosen: Settings, replicas: int = 2) -> tuple[Object, ...]:
    return desired(featureset_of(given), given, chosen, replicas).objects


def by_kind(given: Object, chosen: Settings) -> dict[str, Object]:
    return {item["kind"]: item for item in objects(given, chosen)}


def compare(name: str, found: list[Object]) -> None:
    """Against the file; UPDATE_GOLDEN=1 writes it."""
    text = yaml.safe_dump_all(found, sort_keys=True, width=120)
    file = GOLDEN / f"{name}.yaml"
    if os.environ.get("UPDATE_GOLDEN") == "1":
        file.write_text(text)
    assert list(yaml.safe_load_all(file.read_text())) == found, f"{file.name} differs; UPDATE_GOLDEN=1 writes it anew"


def test_golden_children() -> None:
    compare("children", list(objects(featureset(), settings())))


def test_golden_children_with_every_setting() -> None:
    compare("children-every-setting", list(objects(featureset(), settings(**EVERYTHING))))


REKEYED = {"source": {"topic": "clicks", "partitions": 6, "replication": 1, "rekey": True}}


def test_golden_children_with_rekey() -> None:
    given = featureset(REKEYED)
    compare("children-rekey", list(objects(given, settings(secret="store", secret_has_kafka_config=True))))
    topics = desired(featureset_of(given), given, settings(), 2).topics
    assert [(topic.name, topic.lenient) for topic in topics[:2]] == [("clicks.by.user", False), ("clicks", True)]


def test_the_stage_beside_a_processor_has_what_it_needs_and_no_more() -> None:
    pod = by_kind(featureset(REKEYED), settings(**EVERYTHING))["Deployment"]["spec"]["template"]["spec"]
    processor, stage = pod["containers"]
    assert (processor["name"], stage["name"]) == ("processor", "rekey")
    names_of = [{one["name"] for one in container["env"]} for container in (processor, stage)]
    assert names_of[0] - names_of[1] == {"FRESHET_REDIS", "FRESHET_POSTGRES", "FRESHET_DEAD_LETTER_TOPIC"}
    assert stage["securityContext"] == processor["securityContext"]
    ports = [container["ports"][0]["containerPort"] for container in (processor, stage)]
    assert len(set(ports)) == 2
    policy = by_kind(featureset(REKEYED), settings(network_policy=True))["NetworkPolicy"]
    assert [one["port"] for one in policy["spec"]["ingress"][0]["ports"]] == ports


def test_golden_purge_job() -> None:
    compare("purge-job", [purge_job(featureset(), settings(), "0123456789", 6)])


def test_golden_serving_config() -> None:
    config_map, found = serving_config([entry(featureset())], settings())
    content = json.loads(gzip.decompress(base64.b64decode(config_map["binaryData"][names.SERVING_CONFIG_KEY])))
    plain = {**config_map, "binaryData": {names.SERVING_CONFIG_KEY: content}}  # compressors differ, content does not
    assert config_map["metadata"]["annotations"] == {"freshet.dev/config-hash": found}
    compare("serving-config", [plain])


def test_golden_topics() -> None:
    found = wanted_topics(featureset_of(featureset()), settings())
    compare("topics", [{"name": t.name, "partitions": t.partitions, "replication": t.replication} for t in found])
    assert dict(found[0].config)["message.timestamp.type"] == "LogAppendTime"
    assert [t.name for t in found] == ["clicks", "click-features", "dead-letter-queue"]


def test_children_are_owned_and_labelled_and_stamped() -> None:
    given = featureset()
    for item in objects(given, settings()):
        meta = item["metadata"]
        assert meta["namespace"] == "shop"
        assert meta["labels"][names.MANAGED_BY] == names.FIELD_MANAGER
        assert meta["labels"][names.LABEL_FEATURESET] == "clicks"
        (owner,) = meta["ownerReferences"]
        assert (owner["uid"], owner["controller"], owner["blockOwnerDeletion"]) == (
            given["metadata"]["uid"],
            True,
            True,
        )
        stamp = meta["annotations"].pop(names.HASH)
        if not meta["annotations"]:
            del meta["annotations"]
        assert stamp == digest(item)


def test_pods_are_restricted() -> None:
    given, chosen = featureset(), settings()
    job = purge_job(given, chosen, "0123456789", 6)
    for item in (by_kind(given, chosen)["Deployment"], job):
        pod = item["spec"]["template"]["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for one in pod["containers"]:
            context = one["securityContext"]
            assert context["readOnlyRootFilesystem"] is True
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert one["resources"]["requests"]["memory"] == one["resources"]["limits"]["memory"]


def test_selectors_hold_the_processors_and_not_the_purge() -> None:
    given, chosen = featureset(), settings()
    found = by_kind(given, chosen)
    chosen_labels = found["Deployment"]["spec"]["selector"]["matchLabels"]
    pod = found["Deployment"]["spec"]["template"]["metadata"]["labels"]
    purge = purge_job(given, chosen, found["Deployment"]["metadata"]["labels"][names.LABEL_REVISION], 6)
    assert chosen_labels.items() <= pod.items()
    assert found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == chosen_labels
    assert not chosen_labels.items() <= purge["spec"]["template"]["metadata"]["labels"].items()
    reached = found["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"].items()
    assert reached <= pod.items()
    assert reached <= purge["spec"]["template"]["metadata"]["labels"].items()


def template(spec: Object | None = None, **changes: Any) -> Object:
    found: Object = by_kind(featureset(spec), settings(**changes))["Deployment"]["spec"]["template"]
    return found


def test_only_what_pods_run_by_rolls_them() -> None:
    same = template()
    for spec in (
        {"processor": {"maxReplicas": 2}},
        {"deletionPolicy": "Delete"},
        {"suspend": True},
        {"history": {"events": "2d"}},
        {"drift": {"threshold": 0.5}},
        {"rollout": {"shadowFor": "1m"}},
    ):
        assert template(spec) == same, spec
    for spec in ({"entityTtl": "900h"}, {"output": {"topic": "click-features", "every": "2s"}}, {"version": "v9"}):
        assert template(spec) != same, spec
    assert template(environment={"FRESHET_LOG_LEVEL": "debug"}) != same
    assert template(image="freshet/workers:1.1") != same


def test_replicas_change_nothing_but_the_number() -> None:
    one, two = (objects(featureset(), settings(), n) for n in (1, 2))
    assert one[:-1] == two[:-1]
    assert (one[-1]["spec"].pop("replicas"), two[-1]["spec"].pop("replicas")) == (1, 2)
    assert one[-1]["spec"] == two[-1]["spec"]


@pytest.mark.parametrize(
    ("changes", "redis", "mounted", "optional"),
    [
        ({"redis": "redis://v:6379/0", "secret": ""}, "value", False, None),
        ({"redis": "", "secret": "s"}, "secret", False, None),
        ({"redis": "", "secret": "s", "secret_has_kafka_config": True}, "secret", True, True),
        ({"redis": "redis://v:6379/0", "secret": "s", "secret_has_kafka_config": True}, "value", True, False),
        ({"redis": "redis://v:6379/0", "secret": "", "secret_has_kafka_config": True}, "value", False, None),
    ],
)
def test_where_secrets_come_from(changes: Any, redis: str, mounted: bool, optional: bool | None) -> None:
    pod = template(**changes)["spec"]
    env = {one["name"]: one for one in pod["containers"][0]["env"]}
    if redis == "secret":
        assert env["FRESHET_REDIS"] == {
            "name": "FRESHET_REDIS",
            "valueFrom": {"secretKeyRef": {"name": "s", "key": "redis"}},
        }
    else:
        assert env["FRESHET_REDIS"]["value"] == "redis://v:6379/0"
    volumes = {one["name"]: one for one in pod["volumes"]}
    assert ("FRESHET_KAFKA_CONFIG" in env) == mounted == ("kafka" in volumes)
    if mounted:
        assert volumes["kafka"]["secret"]["optional"] is optional


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, None),
        ({"secret": "s"}, None),
        ({"secret": "", "secret_has_postgres": True}, None),
        ({"postgres": "postgresql://u@db:5432/f"}, {"value": "postgresql://u@db:5432/f"}),
        (
            {"secret": "s", "secret_has_postgres": True},
            {"valueFrom": {"secretKeyRef": {"name": "s", "key": "postgres", "optional": True}}},
        ),
    ],
)
def test_history_is_for_processors_and_may_be_missing(changes: Any, expected: Any) -> None:
    (container,) = template(**changes)["spec"]["containers"]
    found = [one for one in container["env"] if one["name"] == "FRESHET_POSTGRES"]
    assert found == ([] if expected is None else [{"name": "FRESHET_POSTGRES", **expected}])
    job = purge_job(featureset(), settings(**changes), "0123456789", 6)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert "FRESHET_POSTGRES" not in [one["name"] for one in container["env"]]


def test_the_operators_own_variables_win() -> None:
    pod = template(environment={"FRESHET_MANIFESTS": "/elsewhere", "FRESHET_LOG_FORMAT": "text"})["spec"]
    env = [(one["name"], one.get("value")) for one in pod["containers"][0]["env"]]
    assert len(dict(env)) == len(env)
    assert dict(env)["FRESHET_MANIFESTS"] == "/etc/freshet/manifests/featureset.json"
    assert dict(env)["FRESHET_LOG_FORMAT"] == "text"


def test_no_network_policy_where_it_is_off() -> None:
    assert "NetworkPolicy" not in by_kind(featureset(), settings(network_policy=False))


def test_who_may_read_metrics_is_meant_from_the_charts_namespace() -> None:
    elsewhere: Object = {"namespaceSelector": {}}
    pods: Object = {"podSelector": {"matchLabels": {"app": "prometheus"}}}
    address: Object = {"ipBlock": {"cidr": "10.0.0.0/8"}}
    policy = by_kind(featureset(), settings(metrics_from=(elsewhere, pods, address)))["NetworkPolicy"]
    release = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "freshet"}}}
    (rule,) = policy["spec"]["ingress"]
    assert rule["from"] == [release, {"podSelector": {}}, elsewhere, {**pods, **release}, address]
    assert rule["ports"] == [{"port": 8082, "protocol": "TCP"}]


def test_names_fit_however_long_the_featuresets_is() -> None:
    given = featureset(name="a" * 40)
    for item in (*objects(given, settings()), purge_job(given, settings(), "0" * 10, 6)):
        assert len(item["metadata"]["name"]) <= 63
        assert all(len(value) <= 63 for value in item["metadata"]["labels"].values())


def test_the_whole_spec_is_kept_and_named_by_what_it_says() -> None:
    first = by_kind(featureset(), settings())["ControllerRevision"]
    assert first["data"] == {"spec": featureset()["spec"]}
    later = by_kind(featureset(generation=9), settings())["ControllerRevision"]
    assert (first["revision"], later["revision"]) == (1, 9)
    assert first["metadata"]["name"] == later["metadata"]["name"]
    other = by_kind(featureset({"suspend": True}), settings())["ControllerRevision"]
    assert other["metadata"]["name"] != first["metadata"]["name"]


def test_entries_hold_what_serving_reads_and_nothing_else() -> None:
    given = featureset({"deletionPolicy": "Delete", "suspend": True}, annotations={"note": "secret"})
    assert entry(given)["metadata"] == {"name": "clicks", "namespace": "shop"}
    assert entry_hash(entry(given)) == entry_hash(entry(featureset()))
    assert entry_hash(entry(given)) != entry_hash(entry(featureset({"version": "v2"})))


def test_the_configuration_does_not_depend_on_the_order_of_its_entries() -> None:
    several = [entry(featureset(name=name, namespace=space)) for name in ("b", "a") for space in ("z", "y")]
    assert serving_config(several, settings()) == serving_config(reversed(several), settings())
    assert serving_config([], settings())[1] != serving_config(several, settings())[1]


def test_a_configuration_that_fits_no_config_map_says_so() -> None:
    noise = [{"metadata": {"namespace": "n", "name": f"f{i}"}, "spec": os.urandom(5000).hex()} for i in range(300)]
    with pytest.raises(ServingConfigTooLarge, match=r"300 FeatureSets .* KiB .*delete"):
        serving_config(noise, settings())


def test_replication_of_the_settings_wins() -> None:
    found = wanted_topics(featureset_of(featureset()), replace(settings(), replication=3))
    assert {topic.replication for topic in found} == {3}
    assert {dict(topic.config)["min.insync.replicas"] for topic in found} == {"2"}
