"""What pods are told, how they end, scale and are found."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import fields
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from charting import (
    CHART,
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
    values_of,
)

variants = pytest.mark.parametrize("variant", VARIANTS)
OURS = ("operator", "ingest", "serving", "recorder")


@variants
def test_no_variable_or_mount_is_given_twice(variant: str) -> None:
    for name, _, spec in pods(rendered(variant)):
        for container in containers(spec):
            for list_, key in (("env", "name"), ("volumeMounts", "mountPath"), ("ports", "name")):
                given = [one[key] for one in container.get(list_, [])]
                assert len(given) == len(set(given)), f"{name}: {list_}"
        volumes = [volume["name"] for volume in spec.get("volumes", [])]
        assert len(volumes) == len(set(volumes)), name


def test_users_variables_win() -> None:
    found = environment(rendered("production"), "freshet-ingest")
    assert found["FRESHET_LOG_LEVEL"] == "warning"
    assert found["FRESHET_PRODUCER_MEMORY_MB"] == "256"


def _settings():
    """The operator's settings, by file: its package is not installed here."""
    for folder in ("workers", "operator"):
        sys.path.insert(0, str(REPOSITORY / folder))
    path = REPOSITORY / "operator" / "freshet_operator" / "settings.py"
    spec = importlib.util.spec_from_file_location("freshet_operator.settings", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@variants
def test_the_operator_understands_its_settings(variant: str) -> None:
    settings = _settings()
    name = "features" if variant == "generic" else "freshet"
    given = environment(rendered(variant), f"{name}-operator")
    given["FRESHET_IDENTITY"] = "a-pod"
    found = settings.Settings.from_environment(given)
    template = found.processor
    assert set(json.loads(given["FRESHET_PROCESSOR_TEMPLATE"])) == {one.name for one in fields(template)}
    assert found.own_namespace == "fs"
    assert found.serving_config == f"{name}-featuresets"
    assert template.kafka == found.kafka
    assert template.redis or template.secret
    assert (
        template.image
        == one(rendered(variant), "Deployment", f"{name}-ingest")["spec"]["template"]["spec"]["containers"][0]["image"]
    )
    known = {variable for variable, _, _ in settings._VARIABLES.values()}
    assert {one for one in given if one.startswith("FRESHET_")} <= known, "a variable that nobody reads"


@variants
def test_the_operator_finds_the_pods_that_acknowledge(variant: str) -> None:
    objects = rendered(variant)
    name = "features" if variant == "generic" else "freshet"
    selector = environment(objects, f"{name}-operator")["FRESHET_SERVING_SELECTOR"]
    equal, _, components = selector.partition(",app.kubernetes.io/component in ")
    wanted = dict(part.split("=") for part in equal.split(","))
    for component in components.strip("()").split(","):
        labels = one(objects, "Deployment", f"{name}-{component}")["spec"]["template"]["metadata"]["labels"]
        assert wanted.items() <= labels.items()
        assert labels["app.kubernetes.io/component"] == component


@variants
def test_selectors_match_and_never_change(variant: str) -> None:
    names = {"app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component"}
    objects = rendered(variant)
    for item in of_kind(objects, "Deployment", "StatefulSet"):
        selector = item["spec"]["selector"]["matchLabels"]
        assert set(selector) == names, name_of(item)
        assert selector.items() <= item["spec"]["template"]["metadata"]["labels"].items(), name_of(item)
    templates = [labels["labels"] for _, labels, _ in pods(objects)]
    for service in of_kind(objects, "Service"):
        assert [labels for labels in templates if service["spec"]["selector"].items() <= labels.items()], name_of(
            service
        )
    for budget in of_kind(objects, "PodDisruptionBudget"):
        selector = budget["spec"]["selector"]["matchLabels"]
        assert len([labels for labels in templates if selector.items() <= labels.items()]) == 1, name_of(budget)


def test_labels_of_users_do_not_reach_selectors() -> None:
    values = values_of("minimal") | {"commonLabels": {"app.kubernetes.io/component": "mine", "team": "x"}}
    values["ingest"] = {"podLabels": {"app.kubernetes.io/component": "mine"}}
    for item in of_kind(tuple(documents(helm3(values))), "Deployment"):
        labels = item["spec"]["template"]["metadata"]["labels"]
        assert labels["team"] == "x"
        assert labels["app.kubernetes.io/component"] in item["metadata"]["name"]
        assert item["spec"]["selector"]["matchLabels"].items() <= labels.items()


@variants
def test_immutable_fields_survive_an_upgrade(variant: str) -> None:
    """Another image, size, label and number: nothing changes that the API server would refuse to change."""
    values = values_of(variant)
    changed = json.loads(json.dumps(values))
    changed.setdefault("image", {}).update(tag="9.9.9")
    changed.setdefault("commonLabels", {}).update(more="labels")
    for component in ("operator", "ingest", "serving", "recorder"):
        changed.setdefault(component, {}).update(replicas=5, podLabels={"a": "b"})
    for server in ("kafka", "postgres"):
        changed.setdefault("dev", {}).setdefault(server, {})["image"] = "other:1"

    def fixed(objects: tuple[dict, ...]) -> dict[str, object]:
        found: dict[str, object] = {}
        for item in objects:
            spec = item.get("spec", {})
            if item["kind"] in ("Deployment", "StatefulSet"):
                found[name_of(item)] = [spec["selector"], spec.get("serviceName"), spec.get("volumeClaimTemplates")]
            elif item["kind"] in ("RoleBinding", "ClusterRoleBinding"):
                found[name_of(item)] = item["roleRef"]
            elif item["kind"] == "Service":
                found[name_of(item)] = [spec["selector"], spec.get("clusterIP")]
        return found

    new = tuple(documents(helm3(changed, "--api-versions", "monitoring.coreos.com/v1")))
    assert fixed(new) == fixed(rendered(variant))


@variants
def test_pods_end_in_order(variant: str) -> None:
    for item in of_kind(rendered(variant), "Deployment"):
        if item["metadata"]["labels"]["app.kubernetes.io/component"] not in OURS:
            continue
        spec = item["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        sleep = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        grace = [int(v["value"]) for v in container["env"] if v["name"] == "FRESHET_GRACE_SECONDS"] or [20]
        assert spec["terminationGracePeriodSeconds"] >= sleep + grace[0] + 5, name_of(item)
        answers = item["metadata"]["labels"]["app.kubernetes.io/component"] in ("ingest", "serving")
        if variant in ("alb", "auto-mode") and answers:
            assert sleep >= 30, "the load balancer still sends requests"


@variants
def test_probes(variant: str) -> None:
    for name, _, spec in pods(rendered(variant)):
        if name.startswith("Pod "):
            continue
        for container in containers(spec):
            assert {"readinessProbe", "livenessProbe"} <= set(container), name
            if container["name"] in ("ingest", "serving", "recorder"):
                assert container["livenessProbe"]["httpGet"] == {"path": "/health", "port": "metrics"}
                assert container["readinessProbe"]["httpGet"] == {"path": "/ready", "port": "metrics"}
            ports = {port["name"] for port in container["ports"]}
            for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
                probe = container.get(kind, {})
                port = (probe.get("httpGet") or probe.get("tcpSocket") or {}).get("port")
                assert port is None or port in ports, f"{name}: {kind}"


def test_autoscaled_deployments_leave_replicas_alone() -> None:
    objects = rendered("production")
    for component in ("ingest", "serving"):
        assert "replicas" not in one(objects, "Deployment", f"freshet-{component}")["spec"]
        scaler = one(objects, "HorizontalPodAutoscaler", f"freshet-{component}")["spec"]
        assert scaler["scaleTargetRef"]["name"] == f"freshet-{component}"
        assert scaler["minReplicas"] >= 2
    assert one(objects, "Deployment", "freshet-operator")["spec"]["replicas"] == 2


def test_the_recorder_answers_no_requests() -> None:
    objects = rendered("production")
    (container,) = one(objects, "Deployment", "freshet-recorder")["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["freshet", "recorder"]
    assert [port["name"] for port in container["ports"]] == ["metrics", "admin"]
    for variant, ports in (("dev", ["metrics"]), ("production", ["metrics", "admin"])):
        service = one(rendered(variant), "Service", "freshet-recorder")
        assert [port["name"] for port in service["spec"]["ports"]] == ports
    given = environment(objects, "freshet-recorder")
    assert {"FRESHET_KAFKA", "FRESHET_DEAD_LETTER_TOPIC", "FRESHET_CONFIG_MAP", "FRESHET_ADMIN_PORT"} <= set(given)
    assert not {"FRESHET_PORT", "FRESHET_MANAGE_TOPICS"} & set(given)
    assert not [i for i in of_kind(rendered("minimal"), "Deployment") if "recorder" in i["metadata"]["name"]]


def test_where_processors_find_the_history() -> None:
    def template(variant: str) -> dict:
        return json.loads(environment(rendered(variant), "freshet-operator")["FRESHET_PROCESSOR_TEMPLATE"])

    assert (template("production")["postgres"], template("production")["secret_has_postgres"]) == ("", True)
    assert template("alb")["postgres"] == "postgresql://freshet@db.example.com:5433/freshet?sslmode=verify-full"
    assert {5432, 5433} <= set(template("alb")["egress_ports"])
    assert template("dev")["postgres"] == "postgresql://freshet:freshet@freshet-postgres.fs.svc:5432/freshet"
    assert (template("minimal")["postgres"], template("minimal")["secret_has_postgres"]) == ("", False)
    assert 5432 not in template("minimal")["egress_ports"]
    values = values_of("dev")
    values["dev"]["postgres"]["password"] = "p@ss w/rd+1"
    given = environment(tuple(documents(helm3(values))), "freshet-serving")["FRESHET_POSTGRES"]
    assert urlsplit(given).hostname == "freshet-postgres.fs.svc"
    assert unquote(urlsplit(given).password or "") == "p@ss w/rd+1"


def test_budgets_let_broken_pods_go() -> None:
    budgets = of_kind(rendered("production"), "PodDisruptionBudget")
    assert {b["metadata"]["name"] for b in budgets} == {f"freshet-{component}" for component in OURS}
    for budget in budgets:
        assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
        assert ("minAvailable" in budget["spec"]) != ("maxUnavailable" in budget["spec"])
    assert one(rendered("production"), "PodDisruptionBudget", "freshet-ingest")["spec"]["minAvailable"] == "50%"


def test_images() -> None:
    def image(objects: tuple[dict, ...], name: str) -> str:
        return one(objects, "Deployment", name)["spec"]["template"]["spec"]["containers"][0]["image"]

    objects = rendered("production")
    assert (
        image(objects, "freshet-ingest")
        == "registry.example.com/freshet/workers:0.1.0@sha256:" + "0123456789abcdef" * 4
    )
    assert (
        image(objects, "freshet-operator")
        == "registry.example.com/freshet/operator:0.1.0@sha256:" + "fedcba9876543210" * 4
    )
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    assert image(rendered("minimal"), "freshet-serving") == f"freshet/workers:{version}"
    values = values_of("minimal") | {"serving": {"image": {"repository": "mine", "tag": "1"}}}
    assert image(tuple(documents(helm3(values))), "freshet-serving") == "mine:1"


def test_version_is_the_programs() -> None:
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    for package in ("workers/freshet", "operator/freshet_operator"):
        assert f'__version__ = "{version}"' in (REPOSITORY / package / "__init__.py").read_text(), package


def test_a_release_of_another_name() -> None:
    objects = tuple(documents(helm3(values_of("minimal"), command=("template", "prod"))))
    assert {i["metadata"]["name"] for i in of_kind(objects, "Deployment")} == {
        "prod-freshet-operator",
        "prod-freshet-ingest",
        "prod-freshet-serving",
    }


@pytest.mark.parametrize("variant", ["dev", "rig"])
def test_development_fits_a_small_machine(variant: str) -> None:
    objects = rendered(variant)
    total = 0.0
    for item in of_kind(objects, "Deployment", "StatefulSet", "Pod"):
        spec = item["spec"] if item["kind"] == "Pod" else item["spec"]["template"]["spec"]
        cpu = sum(int(c["resources"]["requests"]["cpu"].removesuffix("m")) for c in containers(spec)) / 1000
        total += cpu * item["spec"].get("replicas", 1)
    template = json.loads(environment(objects, "freshet-operator")["FRESHET_PROCESSOR_TEMPLATE"])
    total += 2 * int(template["resources"]["requests"]["cpu"].removesuffix("m")) / 1000
    assert total <= 1.2, f"{total} CPUs are requested with two processors"


def test_development_servers() -> None:
    objects = rendered("dev")
    services = {i["metadata"]["name"]: [p["port"] for p in i["spec"]["ports"]] for i in of_kind(objects, "Service")}
    assert services["freshet-valkey"] == [6379]
    assert services["freshet-postgres"] == [5432]
    assert services["freshet-prometheus"] == [9090]
    assert services["freshet-grafana"] == [3000]
    assert services["freshet-kafka-ui"] == [8090]
    assert 9092 in services["freshet-kafka"]
    assert environment(objects, "freshet-serving")["FRESHET_REDIS"] == "redis://freshet-valkey.fs.svc:6379/0"
    (valkey,) = one(objects, "Deployment", "freshet-valkey")["spec"]["template"]["spec"]["containers"]
    arguments = " ".join(valkey["args"])
    assert "--maxmemory-policy noeviction" in arguments
    assert "--save  " in arguments
    assert "--appendonly no" in arguments
    (kafka,) = one(objects, "StatefulSet", "freshet-kafka")["spec"]["template"]["spec"]["containers"]
    told = {v["name"]: v["value"] for v in kafka["env"]}
    assert "INSIDE://freshet-kafka.fs.svc:9092" in told["KAFKA_ADVERTISED_LISTENERS"]
    assert {v["name"] for v in kafka["env"]} >= {"KAFKA_PROCESS_ROLES", "KAFKA_NODE_ID", "CLUSTER_ID"}
    images = [c["image"] for _, _, spec in pods(objects) for c in containers(spec)]
    assert not [image for image in images if "bitnami" in image]


def test_every_development_server_can_be_left_out() -> None:
    everything = values_of("dev")
    for server in everything["dev"]:
        values = json.loads(json.dumps(everything))
        values["dev"][server]["enabled"] = False
        values["kafka"] = {"bootstrap": "k:9092"} if server == "kafka" else {}
        values["redis"] = {"url": "redis://r:6379"} if server == "valkey" else {}
        values["recorder"]["enabled"] = server != "postgres"
        component = "kafka-ui" if server == "kafkaUi" else server
        left = [
            i
            for i in documents(helm3(values))
            if i["metadata"].get("labels", {}).get("app.kubernetes.io/component") == component
        ]
        assert not left, server


def test_smoke_pod_asks_this_release() -> None:
    for variant in VARIANTS:
        found = of_kind(rendered(variant), "Pod")
        assert bool(found) != (variant == "generic")
        for pod in found:
            assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
            command = pod["spec"]["containers"][0]["command"]
            assert command[:2] == ["freshet", "smoke"]
            assert "http://freshet-ingest.fs.svc:8080" in command
            assert "@" not in " ".join(command), "a password in a command is seen by everyone"


assert Path(CHART).is_dir()
