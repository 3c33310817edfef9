"""Pods, rights and secrets: what a security review asks."""

from __future__ import annotations

import json

import pytest
from charting import (
    REPOSITORY,
    VARIANTS,
    containers,
    documents,
    environment,
    helm3,
    name_of,
    of_kind,
    one,
    pods,
    rendered,
    run,
    values_of,
)

variants = pytest.mark.parametrize("variant", VARIANTS)
READERS = {"operator", "ingest", "serving", "recorder", "prometheus"}
"""Components that talk to the API server."""


@variants
def test_pods_meet_the_restricted_standard(variant: str) -> None:
    for name, _, spec in pods(rendered(variant)):
        for field in ("hostNetwork", "hostPID", "hostIPC"):
            assert not spec.get(field), name
        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True, name
        assert security["runAsUser"] > 0, name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for volume in spec.get("volumes", []):
            assert set(volume) - {"name"} <= {"configMap", "secret", "emptyDir", "projected"}, name
        for container in containers(spec):
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False, name
            assert own["readOnlyRootFilesystem"] is True, name
            assert own["capabilities"] == {"drop": ["ALL"]}, name
            assert "privileged" not in own, name
            assert "hostPort" not in json.dumps(container), name


@variants
def test_resources_are_set(variant: str) -> None:
    for name, _, spec in pods(rendered(variant)):
        for container in containers(spec):
            resources = container["resources"]
            assert {"cpu", "memory"} <= set(resources["requests"]), name
            assert "memory" in resources["limits"], name


@variants
def test_tokens_only_where_needed(variant: str) -> None:
    objects = rendered(variant)
    for name, meta, spec in pods(objects):
        needed = meta["labels"]["app.kubernetes.io/component"] in READERS
        assert spec["automountServiceAccountToken"] is needed, name
        if needed:
            assert spec["serviceAccountName"] != "default", name
        assert spec["enableServiceLinks"] is False, name
    for account in of_kind(objects, "ServiceAccount"):
        assert account["automountServiceAccountToken"] is False, name_of(account)


@variants
def test_rights_are_few(variant: str) -> None:
    for item in of_kind(rendered(variant), "Role", "ClusterRole"):
        for rule in item["rules"]:
            assert "*" not in json.dumps(rule), name_of(item)
            assert not {"secrets", "namespaces", "customresourcedefinitions"} & set(rule["resources"]), name_of(item)
            assert not {"escalate", "bind", "impersonate"} & set(rule["verbs"]), name_of(item)
            assert not [r for r in rule["resources"] if r.startswith("pods/")], name_of(item)


@variants
def test_services_read_one_config_map(variant: str) -> None:
    objects = rendered(variant)
    name = environment(objects, "features-serving" if variant == "generic" else "freshet-serving")["FRESHET_CONFIG_MAP"]
    for role in of_kind(objects, "Role"):
        if role["metadata"]["labels"]["app.kubernetes.io/component"] in ("ingest", "serving", "recorder"):
            (rule,) = role["rules"]
            assert rule["resources"] == ["configmaps"]
            assert rule["verbs"] == ["get", "list", "watch"]
            assert [f"fs/{one}" for one in rule["resourceNames"]] == [name]


def test_lease_is_the_operators_own() -> None:
    (lease, create) = one(rendered("minimal"), "Role", "freshet-operator")["rules"][:2]
    assert lease["resourceNames"] == ["freshet-operator"]
    assert create["verbs"] == ["create"]
    assert environment(rendered("minimal"), "freshet-operator")["FRESHET_LEASE"] == "freshet-operator"


def test_a_namespaced_install_has_no_right_beyond_its_namespaces() -> None:
    objects = rendered("namespaced")
    assert not of_kind(objects, "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition")
    assert {item["metadata"]["namespace"] for item in of_kind(objects, "Role")} == {"fs", "team-a", "team-b"}
    assert environment(objects, "freshet-operator")["FRESHET_WATCH_NAMESPACES"] == "team-a,team-b"


def test_roles_and_bindings_match() -> None:
    for variant in VARIANTS:
        objects = rendered(variant)
        roles = {
            (i["kind"], i["metadata"].get("namespace"), i["metadata"]["name"])
            for i in of_kind(objects, "Role", "ClusterRole")
        }
        accounts = {i["metadata"]["name"] for i in of_kind(objects, "ServiceAccount")}
        for binding in of_kind(objects, "RoleBinding", "ClusterRoleBinding"):
            ref = binding["roleRef"]
            assert (ref["kind"], binding["metadata"].get("namespace"), ref["name"]) in roles, name_of(binding)
            for subject in binding["subjects"]:
                assert subject["name"] in accounts | {"shared"}
                assert subject["namespace"] == "fs"


@variants
def test_no_secret_is_made_but_for_the_development_postgres(variant: str) -> None:
    names = [item["metadata"]["name"] for item in of_kind(rendered(variant), "Secret")]
    assert names == (["freshet-postgres"] if variant in ("dev", "rig") else [])


def test_secrets_are_referred_to() -> None:
    objects = rendered("production")
    secret = {"secretKeyRef": {"name": "freshet-redis", "key": "redis"}}
    for name in ("freshet-serving", "freshet-recorder"):
        assert environment(objects, name)["FRESHET_REDIS"] == secret
    history = {"secretKeyRef": {"name": "freshet-postgres", "key": "postgres"}}
    for name in ("freshet-serving", "freshet-recorder"):
        assert environment(objects, name)["FRESHET_POSTGRES"] == history
    for name in ("freshet-operator", "freshet-ingest"):
        assert "FRESHET_POSTGRES" not in environment(objects, name)
    token = {"secretKeyRef": {"name": "freshet-administration", "key": "token"}}
    assert environment(objects, "freshet-recorder")["FRESHET_ADMIN_TOKEN"] == token
    for name in ("freshet-operator", "freshet-ingest", "freshet-serving"):
        assert "FRESHET_ADMIN_TOKEN" not in environment(objects, name)
    assert "FRESHET_ADMIN_TOKEN" not in environment(rendered("dev"), "freshet-recorder"), "nobody has asked for it"
    for name in ("freshet-operator", "freshet-ingest", "freshet-recorder"):
        spec = one(objects, "Deployment", name)["spec"]["template"]["spec"]
        assert "freshet-kafka-client" in [v.get("secret", {}).get("secretName") for v in spec["volumes"]]
        assert environment(objects, name)["FRESHET_KAFKA_CONFIG"] == "/etc/freshet/kafka/kafka.properties"
    assert "FRESHET_REDIS" not in environment(objects, "freshet-operator"), "the operator has no business with it"


def test_the_admin_port_is_in_no_service_but_the_recorders_with_a_token() -> None:
    for variant in VARIANTS:
        found = [
            service["metadata"]["name"]
            for service in of_kind(rendered(variant), "Service")
            if [p for p in service["spec"]["ports"] if p["port"] == 8084 or p["targetPort"] in (8084, "admin")]
        ]
        assert found == (["freshet-recorder"] if variant == "production" else []), variant


@variants
def test_checkov_finds_nothing(variant: str, checkov: str, tmp_path) -> None:
    text = helm3(values_of(variant), "--api-versions", "monitoring.coreos.com/v1")
    (tmp_path / "objects.yaml").write_text(text)
    config = REPOSITORY / "charts" / ".checkov.yaml"
    options = ["--config-file", str(config), "--file", str(tmp_path / "objects.yaml")]
    if variant == "generic":  # the one that switches networkPolicy off
        options += ["--skip-check", "CKV2_K8S_6,CKV_K8S_11,CKV_K8S_15,CKV_K8S_43"]
    done = run(checkov, *options)
    assert "Passed checks: " in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0, done.stdout[-6000:]
    assert list(documents(text))
