"""Monitors, alerts and the dashboard name metrics that exist, and look where the pods are."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from charting import CHART, REPOSITORY, of_kind, one, rendered, run

RULES_AND_MONITORS = ("ServiceMonitor", "PodMonitor", "PrometheusRule")
_SUFFIXES = ("_bucket", "_count", "_sum")


def metrics() -> set[str]:
    """Names in the two files that define all metrics."""
    found: set[str] = set()
    for path in ("workers/freshet/runtime/metrics.py", "operator/freshet_operator/metrics.py"):
        text = (REPOSITORY / path).read_text()
        found |= set(re.findall(r'(?:Counter|Gauge|Histogram|GaugeMetricFamily)\(\s*"([a-z_]+)"', text))
    return found


_WORDS = re.compile(
    r"\b(?:sum|max|min|rate|increase|by|on|and|or|unless|label_replace|absent|time|histogram_quantile|le|label_values|__name__|__rate_interval)\b"
)


def names(expression: str) -> set[str]:
    """Metric names in PromQL: words that are no function, keyword, label, string or range."""
    text = re.sub(r'"[^"]*"', "", expression)
    text = re.sub(r"\[[^\]]*\]", "", text)
    text = re.sub(r"\b(by|on)\s*\([^)]*\)", "", text)
    text = re.sub(r"\{[^}]*\}", "", text)
    return {word for word in re.findall(r"[a-zA-Z_][a-zA-Z_0-9]*", text) if not _WORDS.fullmatch(word)}


def checked(expression: str, where: str) -> None:
    known = metrics()
    for name in names(expression):
        base = next((name.removesuffix(s) for s in _SUFFIXES if name.endswith(s)), name)
        assert name in known or base in known, f"{where}: there is no metric {name}"


def rules() -> list[dict]:
    (item,) = of_kind(rendered("production"), "PrometheusRule")
    return [rule for group in item["spec"]["groups"] for rule in group["rules"]]


def test_alerts_name_metrics_that_exist() -> None:
    assert len(rules()) >= 8
    for rule in rules():
        assert names(rule["expr"]), rule["alert"]
        checked(rule["expr"], rule["alert"])


def test_alerts_say_what_to_do() -> None:
    for rule in rules():
        assert rule["alert"].startswith("Freshet")
        assert rule["for"]
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"]
        used = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        kept = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", rule["expr"])))) | {"kind"}
        assert used <= kept, f"{rule['alert']} names labels that its expression does not keep"


SERIES = {
    'freshet_featureset_condition{namespace="shop", name="gone", type="Serving", status="false"}': 1,
    'freshet_featureset_condition{namespace="shop", name="gone", type="BackfillComplete", status="true"}': 1,
    'freshet_featureset_condition{namespace="shop", name="new", type="Serving", status="false"}': 1,
    'freshet_featureset_condition{namespace="shop", name="new", type="BackfillComplete", status="false"}': 1,
    'freshet_featureset_condition{namespace="shop", name="new", type="BackfillComplete", status="true"}': 0,
    'freshet_featureset_condition{namespace="shop", name="new", type="Ready", status="false"}': 1,
    'freshet_featureset_condition{namespace="shop", name="new", type="Progressing", status="true"}': 1,
    'freshet_featureset_condition{namespace="shop", name="typo", type="Ready", status="false"}': 1,
    'freshet_featureset_condition{namespace="shop", name="typo", type="Progressing", status="true"}': 0,
    'freshet_featureset_condition{namespace="shop", name="off", type="Ready", status="false"}': 1,
    'freshet_featureset_condition{namespace="shop", name="off", type="Paused", status="true"}': 1,
    'freshet_featureset_condition{namespace="shop", name="well", type="Ready", status="true"}': 1,
    'freshet_featureset_condition{namespace="shop", name="well", type="Ready", status="false"}': 0,
    'freshet_featureset_condition{namespace="shop", name="well", type="Serving", status="true"}': 1,
    'partitions_rebuilding{namespace="shop", featureset="well", pod="a"}': 2,
    'partitions_rebuilding{namespace="shop", featureset="well", pod="b"}': 1,
    'partitions_rebuilding{namespace="shop", featureset="new", pod="c"}': 6,
    'partitions_stopped{namespace="shop", featureset="well", reason="StoreFull", pod="a"}': 1,
    'partitions_stopped{namespace="shop", featureset="well", reason="Refused", pod="a"}': 0,
    'leader_election_master_status{namespace="fs", name="freshet-operator", pod="o"}': 1,
}
"""Series of two hours, and their value."""
FIRING = {
    "FreshetFeatureSetNotServed": ["name: gone"],
    "FreshetFeatureSetNotReady": ["name: typo"],
    "FreshetFeatureSetProgressing": ["name: new"],
    "FreshetPartitionsStopped": ["featureset: well, reason: StoreFull"],
    "FreshetRebuilding": ["name: well, featureset: well"],
    "FreshetOperatorDown": [],
}


@pytest.fixture
def promtool() -> str:
    """Prometheus's own judge of rules (Debian: package prometheus)."""
    path = shutil.which("promtool")
    if path is None:
        pytest.skip("there is no promtool")
    return path


@pytest.fixture
def rules_file(tmp_path: Path) -> Path:
    (item,) = of_kind(rendered("production"), "PrometheusRule")
    path = tmp_path / "alerts.yaml"
    path.write_text(yaml.safe_dump(item["spec"]))
    return path


def test_prometheus_takes_the_rules(promtool: str, rules_file: Path) -> None:
    done = run(promtool, "check", "rules", "--lint-fatal", str(rules_file))
    assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_fire_for_what_they_are_about_and_for_nothing_else(promtool: str, rules_file: Path) -> None:
    severities = {rule["alert"]: rule["labels"]["severity"] for rule in rules()}
    annotations = {rule["alert"]: rule["annotations"] for rule in rules()}
    cases = []
    for alert, expected in FIRING.items():
        found = []
        for labels in expected:
            given = {"namespace": "shop", "severity": severities[alert], **yaml.safe_load("{" + labels + "}")}
            summary = annotations[alert]["summary"]
            for label, value in given.items():
                summary = summary.replace(f"{{{{ $labels.{label} }}}}", value)
            summary = summary.replace("{{ $value }}", {"FreshetPartitionsStopped": "1"}.get(alert, "3"))
            found.append({"exp_labels": given, "exp_annotations": {**annotations[alert], "summary": summary}})
        cases.append({"eval_time": "110m", "alertname": alert, "exp_alerts": found})
    series = [{"series": name, "values": f"{value}x120"} for name, value in SERIES.items()]
    test = {
        "rule_files": [rules_file.name],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": series, "alert_rule_test": cases}],
    }
    path = rules_file.parent / "test.yaml"
    path.write_text(yaml.safe_dump(test))
    done = run(promtool, "test", "rules", str(path))
    assert done.returncode == 0, done.stdout + done.stderr


def test_dashboard_names_metrics_that_exist() -> None:
    board = json.loads((CHART / "files" / "dashboards" / "freshet.json").read_text())
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    assert len(panels) >= 15
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    for panel in panels:
        for target in panel["targets"]:
            checked(target["expr"], panel["title"])
    for variable in board["templating"]["list"]:
        assert variable["type"] in ("datasource", "query")


def test_dashboard_is_found_by_grafana() -> None:
    item = one(rendered("production"), "ConfigMap", "freshet-dashboard")
    assert item["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert item["metadata"]["annotations"] == {"grafana_folder": "Freshet"}
    assert json.loads(item["data"]["freshet.json"])["uid"] == "freshet"


def test_monitors_are_found_by_prometheus_and_find_their_pods() -> None:
    objects = rendered("production")
    for item in of_kind(objects, *RULES_AND_MONITORS):
        assert item["metadata"]["labels"]["release"] == "kube-prometheus-stack"
    (monitor,) = of_kind(objects, "ServiceMonitor")
    wanted = monitor["spec"]["selector"]["matchLabels"]
    services = [s for s in of_kind(objects, "Service") if wanted.items() <= s["metadata"]["labels"].items()]
    assert {s["metadata"]["name"] for s in services} == {
        f"freshet-{component}" for component in ("operator", "ingest", "serving", "recorder")
    }
    for service in services:
        assert "metrics" in {port["name"] for port in service["spec"]["ports"]}
    (processors,) = of_kind(objects, "PodMonitor")
    assert processors["spec"]["selector"]["matchLabels"] == {"app.kubernetes.io/name": "freshet-processor"}
    assert processors["spec"]["namespaceSelector"] == {"any": True}


def test_development_prometheus() -> None:
    objects = rendered("dev")
    data = one(objects, "ConfigMap", "freshet-prometheus")["data"]
    config, alerts = yaml.safe_load(data["prometheus.yml"]), yaml.safe_load(data["alerts.yml"])
    (job,) = config["scrape_configs"]
    assert job["kubernetes_sd_configs"][0]["selectors"][0]["label"] == "app.kubernetes.io/part-of=freshet"
    assert {r["alert"] for g in alerts["groups"] for r in g["rules"]} == {rule["alert"] for rule in rules()}
    (job,) = yaml.safe_load(one(rendered("namespaced"), "ConfigMap", "freshet-prometheus")["data"]["prometheus.yml"])[
        "scrape_configs"
    ]
    assert job["kubernetes_sd_configs"][0]["namespaces"] == {"names": ["fs", "team-a", "team-b"]}


def test_development_grafana_is_provisioned() -> None:
    data = one(rendered("dev"), "ConfigMap", "freshet-grafana")["data"]
    (source,) = yaml.safe_load(data["datasource.yaml"])["datasources"]
    assert source["url"] == "http://freshet-prometheus.fs.svc:9090"
    assert source["uid"] == "prometheus"
    assert json.loads(data["freshet.json"])["title"] == "Freshet"


def test_a_changed_configuration_restarts_its_pod() -> None:
    for name, key in (("freshet-prometheus", "checksum/config"), ("freshet-grafana", "checksum/dashboard")):
        template = one(rendered("dev"), "Deployment", name)["spec"]["template"]
        assert re.fullmatch(r"[0-9a-f]{64}", template["metadata"]["annotations"][key])
