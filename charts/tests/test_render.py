"""The chart renders to valid objects in every variant, alike under Helm 3 and Helm 4."""

from __future__ import annotations

import json

import helm_python
import kubernetes_validate
import pytest
import yaml
from charting import (
    CHART,
    HELM,
    KUBERNETES,
    MONITORING,
    VARIANTS,
    documents,
    helm3,
    helm4,
    name_of,
    notes_of,
    rendered,
    run,
    values_of,
)

OWN_GROUPS = {
    "monitoring.coreos.com",
    "eks.amazonaws.com",
    "gateway.networking.k8s.io",
    "apiextensions.k8s.io",
}
"""Kinds that the schemas of Kubernetes do not have (CustomResourceDefinitions: the schema is recursive)."""

variants = pytest.mark.parametrize("variant", VARIANTS)
with_and_without_monitoring = pytest.mark.parametrize("monitoring", [True, False], ids=["monitoring", "plain"])


@variants
def test_lint_is_clean_under_helm_3(variant: str) -> None:
    printed = helm3(values_of(variant), "--strict", command=("lint",))
    assert "0 chart(s) failed" in printed
    assert "[WARNING]" not in printed
    assert "[ERROR]" not in printed


@variants
def test_lint_is_clean_under_helm_4(variant: str) -> None:
    report = helm_python.lint(CHART, values_of(variant), strict=True, kube_version=f"v{KUBERNETES}")
    assert not report["errors"]
    assert not [message for message in report["messages"] if message["severity"] >= 2]


def test_lint_is_clean_without_values() -> None:
    assert run(str(HELM), "lint", "--strict", str(CHART)).returncode == 0


@variants
@with_and_without_monitoring
def test_objects_are_valid(variant: str, monitoring: bool) -> None:
    objects = rendered(variant, monitoring)
    assert len(objects) > 15
    names = [(item["apiVersion"], name_of(item)) for item in objects]
    assert len(names) == len(set(names)), "an object is there twice"
    for item in objects:
        if item["apiVersion"].partition("/")[0] in OWN_GROUPS:
            continue
        try:
            kubernetes_validate.validate(item, "1.34", strict=True)
        except kubernetes_validate.ValidationError as error:
            pytest.fail(f"{name_of(item)}: {error.message} at {list(error.path)}")


@variants
@with_and_without_monitoring
def test_monitoring_objects_need_their_api(variant: str, monitoring: bool) -> None:
    asked = values_of(variant).get("metrics", {})
    expected = sum(asked.get(one, {}).get("enabled", False) for one in ("serviceMonitor", "podMonitor", "rules"))
    found = [item for item in rendered(variant, monitoring) if item["apiVersion"] == MONITORING]
    assert len(found) == (expected if monitoring else 0)


def test_monitoring_objects_are_not_dropped_silently() -> None:
    values = values_of("minimal") | {"metrics": {"rules": {"enabled": True}}}
    done = run(str(HELM), "template", "x", str(CHART), "-f", "-", given=json.dumps(values))
    assert done.returncode != 0
    assert "has no monitoring.coreos.com/v1" in done.stderr
    assert "metrics.requireApi" in done.stderr


@variants
def test_helm_4_renders_the_same(variant: str) -> None:
    def comparable(objects: tuple[dict, ...]) -> list[str]:
        texts = [json.dumps(item, sort_keys=True) for item in objects if item["apiVersion"] != MONITORING]
        return sorted(text.replace("helm.sh/hook", "") for text in texts)

    assert comparable(tuple(documents(helm4(values_of(variant))))) == comparable(rendered(variant, False))


def test_crds_are_the_generated_ones() -> None:
    files = sorted((CHART / "files" / "crds").glob("*.yaml"))
    assert files, "make crds makes them"
    found = {i["metadata"]["name"]: i for i in rendered("minimal") if i["kind"] == "CustomResourceDefinition"}
    assert len(found) == len(files)
    for path in files:
        given = yaml.safe_load(path.read_text())
        item = found[given["metadata"]["name"]]
        assert item["spec"] == given["spec"], f"{path.name} changed on its way through the template"
        assert item["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_crds_go_with_the_release_only_if_asked() -> None:
    crds = list(documents(helm3(values_of("minimal") | {"crds": {"keep": False}})))
    for item in (i for i in crds if i["kind"] == "CustomResourceDefinition"):
        assert "helm.sh/resource-policy" not in item["metadata"].get("annotations", {})
    none = documents(helm3(values_of("minimal") | {"crds": {"install": False}}))
    assert "CustomResourceDefinition" not in {item["kind"] for item in none}


@variants
def test_notes_tell_where_things_are(variant: str) -> None:
    notes = notes_of(values_of(variant))
    assert "port-forward svc/" in notes
    assert "-serving 8083" in notes
    assert "kubectl get featuresets" in notes
    assert ("Not for production" in notes) == (variant in ("dev", "rig"))
    assert ("left out" in notes) == (variant == "production")
    assert ("Each of these needs the Secret freshet-processor" in notes) == (variant == "production")
    assert "<no value>" not in notes
