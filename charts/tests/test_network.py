"""NetworkPolicies, tried out on the pods of a release; Ingress and routes."""

from __future__ import annotations

import json
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from charting import MONITORING, documents, environment, helm3, name_of, of_kind, one, rendered, values_of

Pod = tuple[str, dict[str, str], dict[str, int]]
"""Namespace, labels and named ports."""


def pod(objects: tuple[dict, ...], component: str) -> Pod:
    for item in objects:
        if item["kind"] == "Pod" and item["metadata"]["labels"]["app.kubernetes.io/component"] == component:
            return "fs", item["metadata"]["labels"], {}
        if item["kind"] in ("Deployment", "StatefulSet"):
            template = item["spec"]["template"]
            if template["metadata"]["labels"]["app.kubernetes.io/component"] == component:
                ports = {
                    p["name"]: p["containerPort"] for c in template["spec"]["containers"] for p in c.get("ports", [])
                }
                return "fs", template["metadata"]["labels"], ports
    raise LookupError(component)


PROCESSOR: Pod = (
    "team-a",
    {
        "app.kubernetes.io/name": "freshet-processor",
        "app.kubernetes.io/component": "processor",
        "app.kubernetes.io/part-of": "freshet",
        "app.kubernetes.io/managed-by": "freshet-operator",
    },
    {"metrics": 8082},
)
STRANGER: Pod = ("web", {"app": "shop"}, {})


def selected(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    if not selector.get("matchLabels", {}).items() <= labels.items():
        return False
    for one_ in selector.get("matchExpressions", []):
        assert one_["operator"] == "In"
        if labels.get(one_["key"]) not in one_["values"]:
            return False
    return True


def peer_matches(peer: dict[str, Any], other: Pod | str, own_namespace: str) -> bool:
    if isinstance(other, str):  # an address outside
        return "ipBlock" in peer and ip_address(other) in ip_network(peer["ipBlock"]["cidr"])
    namespace, labels, _ = other
    if "ipBlock" in peer:
        return False
    if "namespaceSelector" in peer:
        if not selected(peer["namespaceSelector"], {"kubernetes.io/metadata.name": namespace}):
            return False
    elif namespace != own_namespace:
        return False
    return selected(peer.get("podSelector", {}), labels)


def allowed(
    objects: tuple[dict, ...], direction: str, me: Pod, other: Pod | str, port: int, protocol: str = "TCP"
) -> bool:
    """Whether `me` lets it pass: any rule of any policy that selects it; without one the cluster refuses."""
    rules_key, peers_key = ("ingress", "from") if direction == "Ingress" else ("egress", "to")
    named = me[2] if direction == "Ingress" else (other[2] if not isinstance(other, str) else {})
    for policy in of_kind(objects, "NetworkPolicy"):
        spec = policy["spec"]
        if policy["metadata"]["namespace"] != me[0] or not selected(spec["podSelector"], me[1]):
            continue
        for rule in spec.get(rules_key, []):
            ports = [(named.get(p["port"], p["port"]), p["protocol"]) for p in rule["ports"]]
            peers = rule.get(peers_key)
            if (port, protocol) in ports and (peers is None or any(peer_matches(p, other, me[0]) for p in peers)):
                return True
    return False


def flows(objects: tuple[dict, ...], a: Pod, b: Pod, port: int) -> bool:
    """From a to b, where both have policies; processors' own are the operator's work."""
    out = a is PROCESSOR or a is STRANGER or allowed(objects, "Egress", a, b, port)
    return out and (b is PROCESSOR or allowed(objects, "Ingress", b, a, port))


DEV_FLOWS = [
    ("operator", "kafka", 9092),
    ("operator", "processor", 8082),
    ("operator", "serving", 8084),
    ("operator", "ingest", 8084),
    ("ingest", "kafka", 9092),
    ("serving", "valkey", 6379),
    ("serving", "postgres", 5432),
    ("processor", "postgres", 5432),
    ("processor", "kafka", 9092),
    ("processor", "valkey", 6379),
    ("kafka", "kafka", 9092),
    ("prometheus", "operator", 8082),
    ("prometheus", "ingest", 8082),
    ("prometheus", "serving", 8082),
    ("prometheus", "processor", 8082),
    ("grafana", "prometheus", 9090),
    ("kafka-ui", "kafka", 9092),
    ("smoke", "ingest", 8080),
    ("smoke", "serving", 8083),
    ("smoke", "ingest", 8082),
    ("smoke", "serving", 8082),
    ("smoke", "kafka", 9092),
    ("smoke", "valkey", 6379),
    ("smoke", "postgres", 5432),
    ("smoke", "recorder", 8082),
    ("recorder", "kafka", 9092),
    ("recorder", "valkey", 6379),
    ("recorder", "postgres", 5432),
    ("prometheus", "recorder", 8082),
    ("stranger", "ingest", 8080),
    ("stranger", "serving", 8083),
]
DEV_DENIED = [
    ("ingest", "postgres", 5432),
    ("stranger", "serving", 8084),
    ("stranger", "ingest", 8084),
    ("stranger", "recorder", 8084),
    ("operator", "recorder", 8084),
    ("stranger", "kafka", 9092),
    ("stranger", "valkey", 6379),
    ("stranger", "postgres", 5432),
    ("stranger", "kafka-ui", 8090),
    ("ingest", "serving", 8084),
    ("serving", "operator", 8083),
    ("valkey", "kafka", 9092),
    ("postgres", "valkey", 6379),
]


def named(objects: tuple[dict, ...], who: str) -> Pod:
    return {"processor": PROCESSOR, "stranger": STRANGER}.get(who) or pod(objects, who)


@pytest.mark.parametrize(("source", "target", "port"), DEV_FLOWS)
def test_what_is_needed_flows(source: str, target: str, port: int) -> None:
    objects = rendered("dev")
    assert flows(objects, named(objects, source), named(objects, target), port)


@pytest.mark.parametrize(("source", "target", "port"), DEV_DENIED)
def test_what_is_not_needed_does_not(source: str, target: str, port: int) -> None:
    objects = rendered("dev")
    assert not flows(objects, named(objects, source), named(objects, target), port)


@pytest.mark.parametrize(
    "component", ["operator", "ingest", "serving", "recorder", "smoke", "prometheus", "grafana", "kafka-ui", "kafka"]
)
def test_everyone_who_has_to_can_resolve_names(component: str) -> None:
    objects = rendered("dev")
    dns: Pod = ("kube-system", {"k8s-app": "kube-dns"}, {})
    assert allowed(objects, "Egress", pod(objects, component), dns, 53, "UDP")


def test_managed_services_are_reached_where_they_are() -> None:
    objects = rendered("production")
    for component, port in (
        ("operator", 9096),
        ("ingest", 9096),
        ("serving", 6379),
        ("serving", 5432),
        ("recorder", 9096),
        ("recorder", 5432),
        ("recorder", 6379),
        ("smoke", 9096),
        ("smoke", 6379),
        ("smoke", 5432),
    ):
        me = pod(objects, component)
        assert allowed(objects, "Egress", me, "10.0.0.7", port), component
        assert not allowed(objects, "Egress", me, "192.0.2.7", port), component
    assert not allowed(objects, "Egress", pod(objects, "ingest"), "10.0.0.7", 6379), "it has no business there"
    least = rendered("minimal")
    assert not allowed(least, "Egress", pod(least, "serving"), "10.0.0.7", 5432), "there is no history database"
    for component in ("operator", "ingest", "serving", "recorder"):
        assert allowed(objects, "Egress", pod(objects, component), "172.20.0.1", 443), "the API server"
        assert allowed(objects, "Egress", pod(objects, component), "169.254.170.23", 80), "Pod Identity"
        assert not allowed(objects, "Egress", pod(objects, component), "169.254.169.254", 80), "instance metadata"
    assert not allowed(objects, "Ingress", pod(objects, "serving"), ("shop", {}, {}), 8083)
    assert allowed(objects, "Ingress", pod(objects, "serving"), STRANGER, 8083), "clientsFrom: namespace web"
    assert allowed(objects, "Ingress", pod(objects, "serving"), ("monitoring", {}, {}), 8082)
    assert not allowed(objects, "Ingress", pod(objects, "serving"), STRANGER, 8082)
    assert allowed(objects, "Ingress", pod(objects, "recorder"), ("privacy", {}, {}), 8084), "administratorsFrom"
    assert not allowed(objects, "Ingress", pod(objects, "recorder"), STRANGER, 8084)
    assert not allowed(objects, "Ingress", pod(objects, "serving"), ("privacy", {}, {}), 8084)
    assert flows(objects, pod(objects, "smoke"), pod(objects, "serving"), 8083), "helm test"


def test_other_ports_are_taken_from_the_addresses() -> None:
    objects = rendered("alb")
    assert allowed(objects, "Egress", pod(objects, "serving"), "10.0.0.7", 6380)
    found = one(objects, "Deployment", "freshet-operator")["spec"]["template"]["spec"]["containers"][0]["env"]
    (template,) = (json.loads(v["value"]) for v in found if v["name"] == "FRESHET_PROCESSOR_TEMPLATE")
    assert {6380, 6379, 9092} <= set(template["egress_ports"])
    assert template["network_policy"] is True


def scrapers(variant: str) -> list[dict[str, Any]]:
    """Who may read processors' metrics beside their own and the operator's namespace."""
    given = environment(rendered(variant), "freshet-operator")["FRESHET_PROCESSOR_TEMPLATE"]
    return json.loads(given)["metrics_from"]


def test_a_prometheus_of_another_namespace_reaches_processors_when_it_is_told_of_them() -> None:
    monitoring = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    assert scrapers("production") == [monitoring]  # networkPolicy.metricsFrom
    assert scrapers("minimal") == []
    values = values_of("minimal") | {"metrics": {"podMonitor": {"enabled": True}}}
    objects = tuple(documents(helm3(values, "--api-versions", MONITORING)))
    given = json.loads(environment(objects, "freshet-operator")["FRESHET_PROCESSOR_TEMPLATE"])
    assert given["metrics_from"] == [{"namespaceSelector": {}}]


def test_policies_can_be_left_out() -> None:
    assert not of_kind(rendered("generic"), "NetworkPolicy")


def test_every_pod_has_a_policy() -> None:
    objects = rendered("dev")
    components = {
        i["metadata"]["labels"]["app.kubernetes.io/component"]
        for i in of_kind(objects, "Deployment", "StatefulSet", "Pod")
    }
    policies = of_kind(objects, "NetworkPolicy")
    assert {p["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for p in policies} == components
    for policy in policies:
        assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"], name_of(policy)


PREFIX = "alb.ingress.kubernetes.io/"


def test_alb() -> None:
    objects = rendered("alb")
    (ingress,) = of_kind(objects, "Ingress")
    assert ingress["spec"]["ingressClassName"] == "alb"
    assert not of_kind(objects, "IngressClass")
    notes = ingress["metadata"]["annotations"]
    assert all(isinstance(value, str) for value in notes.values())
    found = {key.removeprefix(PREFIX): value for key, value in notes.items()}
    assert found["scheme"] == "internet-facing"
    assert found["target-type"] == "ip"
    assert json.loads(found["listen-ports"]) == [{"HTTP": 80}, {"HTTPS": 443}]
    assert found["ssl-redirect"] == "443"
    assert found["ssl-policy"].startswith("ELBSecurityPolicy-TLS13")
    assert found["load-balancer-name"] == "freshet"
    assert "idle_timeout.timeout_seconds=60" in found["load-balancer-attributes"].split(",")
    assert found["target-group-attributes"] == "deregistration_delay.timeout_seconds=30"
    assert found["group.name"] == "ml"
    assert found["group.order"] == "10"
    assert found["ip-address-type"] == "dualstack"
    for component in ("ingest", "serving"):
        health = one(objects, "Service", f"freshet-{component}")["metadata"]["annotations"]
        assert health[PREFIX + "healthcheck-path"] == "/ready"
        assert health[PREFIX + "success-codes"] == "200"


def test_alb_is_internal_unless_said() -> None:
    (params,) = of_kind(rendered("auto-mode"), "IngressClassParams")
    assert params["spec"]["scheme"] == "internal"


def test_auto_mode() -> None:
    objects = rendered("auto-mode")
    (params,) = of_kind(objects, "IngressClassParams")
    (class_,) = of_kind(objects, "IngressClass")
    (ingress,) = of_kind(objects, "Ingress")
    assert class_["spec"]["controller"] == "eks.amazonaws.com/alb"
    assert "annotations" not in class_["metadata"]
    assert class_["spec"]["parameters"] == {
        "apiGroup": "eks.amazonaws.com",
        "kind": "IngressClassParams",
        "name": params["metadata"]["name"],
    }
    assert ingress["spec"]["ingressClassName"] == class_["metadata"]["name"]
    assert params["apiVersion"] == "eks.amazonaws.com/v1"
    assert len(params["spec"]["certificateARNs"]) == 1
    assert params["spec"]["subnets"]["matchTags"] == [{"key": "tier", "values": ["private"]}]
    attributes = {a["key"]: a["value"] for a in params["spec"]["loadBalancerAttributes"]}
    assert attributes["deletion_protection.enabled"] == "true"
    assert all(isinstance(v, str) for v in attributes.values())
    both = {"scheme", "certificate-arn", "group.name", "load-balancer-attributes", "tags"}
    assert not {PREFIX + one_ for one_ in both} & set(ingress["metadata"]["annotations"])


def test_paths_lead_to_their_services() -> None:
    for variant in ("alb", "auto-mode", "generic"):
        (ingress,) = of_kind(rendered(variant), "Ingress")
        for rule in ingress["spec"]["rules"]:
            found = {p["path"]: p["backend"]["service"]["name"].rpartition("-")[2] for p in rule["http"]["paths"]}
            assert found["/ingest"] == "ingest"
            assert found["/features"] == found["/features:batch"] == "serving"
            assert not [path for path in found if path in ("/", "/metrics", "/config", "/health")]


def test_generic_ingress_and_route() -> None:
    objects = rendered("generic")
    (ingress,) = of_kind(objects, "Ingress")
    assert "annotations" not in ingress["metadata"]
    assert ingress["spec"]["tls"]
    (route,) = of_kind(objects, "HTTPRoute")
    assert {rule["backendRefs"][0]["name"] for rule in route["spec"]["rules"]} == {
        "features-ingest",
        "features-serving",
    }
    for rule in route["spec"]["rules"]:
        assert all(m["path"]["value"].startswith("/") for m in rule["matches"])
