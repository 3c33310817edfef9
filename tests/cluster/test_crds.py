"""The CRDs on a real API server: what it refuses and says, what it takes, what it keeps, what people see."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from freshet.spec.experiment import experiment_of
from freshet.spec.load import parse_featureset
from freshet.spec.problems import ManifestError
from freshet.spec.resource import featureset_of
from tests.cluster.api import Api, ApiError, Object, path_of
from tests.cluster.bad.cases import EXPERIMENT, FEATURESET, Case, cases, merged

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").rglob("*.yaml"))

DRY = {"dryRun": "All", "fieldValidation": "Strict"}
"""As `kubectl apply --dry-run=server`."""


def placed(manifest: Object, namespace: str, name: str | None = None) -> Object:
    """The manifest in a namespace of the test."""
    new = copy.deepcopy(manifest)
    new["metadata"] |= {"namespace": namespace, **({"name": name} if name else {})}
    return new


def update(kube: Api, manifest: Object, **query: str) -> Object:
    """Replaces an object that exists."""
    meta = manifest["metadata"]
    live = kube.find(manifest["kind"], meta["namespace"], meta["name"])
    new = {**manifest, "metadata": {**meta, "resourceVersion": live["metadata"]["resourceVersion"]}}
    return kube.request("PUT", path_of(manifest["kind"], meta["namespace"], meta["name"]), new, **query)


@pytest.mark.parametrize("case", [c for f in ("featuresets", "experiments") for c in cases(f)], ids=str)
def test_a_bad_manifest_is_refused_with_its_message(kube: Api, kube_namespace: str, case: Case) -> None:
    manifest = placed(case.manifest, kube_namespace)
    send = kube.create
    if case.before is not None:
        kube.create(placed(case.before, kube_namespace))
        send = partial(update, kube)
    with pytest.raises(ApiError) as caught:
        send(manifest, **DRY)
    head = f'{manifest["kind"]}.freshet.dev "{manifest["metadata"]["name"]}" is invalid: '
    assert caught.value.message.removeprefix(head) == case.says
    assert caught.value.code in (400, 422)


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_every_example_is_accepted_and_means_what_its_file_means(kube: Api, kube_namespace: str, file: Path) -> None:
    documents = [one for one in yaml.safe_load_all(file.read_text(encoding="utf-8")) if one]
    assert documents
    for document in documents:
        live = kube.create(placed(document, kube_namespace), fieldValidation="Strict")
        if document["kind"] == "Experiment":
            assert experiment_of(live).spec == experiment_of(document).spec
            continue
        assert featureset_of(live) == featureset_of(placed(document, kube_namespace))


def test_the_smallest_manifest_gets_the_defaults_and_keeps_its_revision(kube: Api, kube_namespace: str) -> None:
    small = placed(FEATURESET, kube_namespace)
    small["spec"] = {k: small["spec"][k] for k in ("version", "entity")}
    small["spec"]["features"] = [{"name": "n", "aggregate": "count"}]
    live = kube.create(small, fieldValidation="Strict")
    assert live["spec"]["source"]["partitions"] == 12
    assert live["spec"]["deletionPolicy"] == "Retain"
    assert "output" not in live["spec"]
    file = parse_featureset(yaml.safe_dump(small))
    assert featureset_of(live) == file


UNSAID = [
    ("an unknown column", {"features": [{"name": "n", "aggregate": "sum", "of": "amuont"}]}),
    ("a cycle", {"features": [{"name": "a", "expression": "b + 1"}, {"name": "b", "expression": "a + 1"}]}),
    ("a time zone", {"timezone": "Europe/Bern"}),
    ("a default of another type", {"features": [{"name": "n", "expression": "1 + 1", "default": "x"}]}),
    ("a default that is a list", {"features": [{"name": "n", "expression": "1 + 1", "default": [1]}]}),
    ("a default that is never served", {"features": [{"name": "n", "aggregate": "count", "default": 0}]}),
    ("a window twice", {"features": [{"name": "n", "aggregate": "count", "windows": ["1h", "60m"]}]}),
    ("too short a retention", {"source": {"retention": "1h"}}),
    ("a path inside another", {"source": {"fields": {"a": {"type": "string", "path": "amount.x"}}}}),
    ("a name that is taken", {"features": [{"name": "user_id", "aggregate": "count"}]}),
]


@pytest.mark.parametrize("spec", [spec for _, spec in UNSAID], ids=[name for name, _ in UNSAID])
def test_what_rules_cannot_say_the_validator_says(kube: Api, kube_namespace: str, spec: Object) -> None:
    live = kube.create(placed(merged(FEATURESET, {"spec": spec}), kube_namespace), **DRY)
    with pytest.raises(ManifestError) as caught:
        featureset_of(live)
    assert all(line.startswith("spec.") for line in caught.value.lines)


GOOD_CHANGES: list[tuple[str, Object]] = [
    ("only the version", {"version": "v2"}),
    ("the definition and the version", {"version": "v2", "timezone": "Europe/Berlin"}),
    ("how it is run", {"suspend": True, "processor": {"maxReplicas": 4}, "deletionPolicy": "Delete"}),
    ("the output", {"output": {"topic": "other", "every": "2s"}}),
    ("no output", {"output": None}),
    ("what the topic keeps", {"source": {"retention": "30d", "replication": 1, "manage": False}}),
]


@pytest.mark.parametrize("change", [c for _, c in GOOD_CHANGES], ids=[name for name, _ in GOOD_CHANGES])
def test_changes_that_are_allowed(kube: Api, kube_namespace: str, change: Object) -> None:
    kube.create(placed(FEATURESET, kube_namespace))
    update(kube, placed(merged(FEATURESET, {"spec": change}), kube_namespace), **DRY)


def large(count: int) -> Object:
    """A manifest near all its bounds."""
    text = " and ".join(["event_type <> 'something'"] * 12)
    features: list[Any] = [
        {"name": f"feature_{i}", "aggregate": "sum", "of": "amount", "where": text, "windows": ["1h"]}
        for i in range(count)
    ]
    fields = {f"field_{i}": {"type": "string", "path": f"a.b.c.d.field_{i}"} for i in range(190)}
    manifest: Object = merged(FEATURESET, {"spec": {"features": features, "source": {"fields": fields}}})
    return manifest


def test_rules_are_cheap_enough_for_the_largest_manifest(kube: Api, kube_namespace: str) -> None:
    manifest = placed(large(500), kube_namespace)
    live = kube.create(manifest, fieldValidation="Strict")
    assert len(live["spec"]["features"]) == 500
    manifest["spec"]["features"][499]["where"] = "event_type = 'other'"
    with pytest.raises(ApiError, match="the definition has changed"):
        update(kube, manifest, **DRY)
    manifest["spec"]["version"] = "v2"
    update(kube, manifest, **DRY)
    overrides = {f"user_{i}": "A" for i in range(1000)}
    kube.create(placed(merged(EXPERIMENT, {"spec": {"overrides": overrides}}), kube_namespace), **DRY)


STATUS: Object = {
    "observedGeneration": 2,
    "phase": "Serving",
    "version": "v1",
    "serving": {"version": "v1", "revision": "0a1b2c3d4e"},
    "lastValid": {"name": "demo-0a1b2c3d4e", "generation": 2},
    "versions": [{"version": "v1", "revision": "0a1b2c3d4e", "state": "Serving", "replicas": 2, "readyReplicas": 1}],
    "topics": [{"name": "raw-events", "partitions": 12, "id": "AbC_d-9", "managed": True}],
    "lag": 1204,
    "freshness": "113ms",
    "replicas": 2,
    "scaling": {"since": 1_796_000_000_123, "wanted": 3, "deeper": {"a": [1]}},
    "reason": "RollingOut",
    "message": "1 of 2 processors is ready",
    "conditions": [
        {
            "type": "Ready",
            "status": "False",
            "reason": "RollingOut",
            "message": "1 of 2 processors is ready",
            "lastTransitionTime": "2026-01-05T00:00:00Z",
            "observedGeneration": 2,
        }
    ],
}


def test_no_part_of_a_status_is_lost_and_people_see_it(kube: Api, kube_namespace: str) -> None:
    kube.create(placed(FEATURESET, kube_namespace))
    written = kube.patch("FeatureSet", kube_namespace, "demo", {"status": STATUS}, subresource="status")
    assert written["status"] == STATUS
    [row] = kube.table("FeatureSet", kube_namespace)
    shown = {name: cell for name, cell in row.items() if name != "Age"}
    assert shown == {
        "Name": "demo",
        "Version": "v1",
        "Serving": "v1",
        "Ready": "False",
        "Phase": "Serving",
        "Lag": 1204,
        "Freshness": "113ms",
        "Reason": "RollingOut",
        "Replicas": 2,
        "Revision": "0a1b2c3d4e",
        "Topic": "raw-events",
    }


def test_a_spec_cannot_be_written_through_the_status_nor_a_status_with_the_spec(kube: Api, kube_namespace: str) -> None:
    live = kube.create(placed({**FEATURESET, "status": {"phase": "Serving"}}, kube_namespace))
    assert "status" not in live
    change = {"spec": {"suspend": True}, "status": {"phase": "Pending"}}
    live = kube.patch("FeatureSet", kube_namespace, "demo", change, subresource="status")
    assert (live["spec"]["suspend"], live["status"]["phase"]) == (False, "Pending")


def test_an_experiments_status(kube: Api, kube_namespace: str) -> None:
    kube.create(placed(EXPERIMENT, kube_namespace))
    status = {**{k: STATUS[k] for k in ("observedGeneration", "conditions", "message")}, "phase": "NotImplemented"}
    status["reason"] = "NotImplemented"
    written = kube.patch("Experiment", kube_namespace, "demo", {"status": status}, subresource="status")
    assert written["status"] == status
    [row] = kube.table("Experiment", kube_namespace)
    assert (row["FeatureSet"], row["Traffic"], row["Phase"]) == ("demo", "100%", "NotImplemented")


def test_short_names_and_the_category(kube: Api) -> None:
    resources = {one["name"]: one for one in kube.request("GET", "/apis/freshet.dev/v1alpha1")["resources"]}
    assert resources["featuresets"]["shortNames"] == ["fs"]
    assert resources["experiments"]["shortNames"] == ["exp"]
    assert {tuple(resources[name]["categories"]) for name in ("featuresets", "experiments")} == {("freshet",)}


def test_two_appliers_can_own_a_feature_each(kube: Api, kube_namespace: str) -> None:
    kube.apply(placed(FEATURESET, kube_namespace), "first")
    more = {"name": "hits", "aggregate": "count", "windows": ["6h"]}
    spec = {"version": "v2", "entity": FEATURESET["spec"]["entity"], "features": [more]}
    live = kube.apply(placed({**FEATURESET, "spec": spec}, kube_namespace), "second", force=True)
    assert [feature["name"] for feature in live["spec"]["features"]] == ["n", "total", "ratio", "hits"]
