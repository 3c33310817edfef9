"""A FeatureSet as a cluster's API gives it means what its file means, and tells its problems without lines."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from freshet.spec.experiment import experiment_of
from freshet.spec.load import parse_featureset
from freshet.spec.problems import ManifestError
from freshet.spec.resource import featureset_of, reduced
from tests.unit.spec.manifests import SMALL, bent


def resource(text: str = SMALL) -> dict[str, Any]:
    """The manifest as the API server would give it back."""
    data: dict[str, Any] = yaml.safe_load(text)
    data["metadata"] |= {
        "namespace": "team-a",
        "uid": "515f54a8-d390-4b60-ab07-33feb1363577",
        "resourceVersion": "12",
        "generation": 3,
        "creationTimestamp": "2026-01-05T00:00:00Z",
        "deletionTimestamp": "2026-01-06T00:00:00Z",
        "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}],
        "finalizers": ["freshet.dev/cleanup"],
        "ownerReferences": [{"kind": "App", "name": "x"}],
        "annotations": {"note": "\x00"},
    }
    data["status"] = {"phase": "Serving", "lag": None}
    return data


def told(data: Any) -> tuple[str, ...]:
    with pytest.raises(ManifestError) as caught:
        featureset_of(data)
    return caught.value.lines


def sorted_fields(text: str) -> str:
    """The API server sorts the names of a mapping; the order of event fields is part of a revision."""
    event_type = "      event_type: {type: string, required: true}\n"
    assert event_type in text
    return text.replace(event_type, "").replace("  features:\n", event_type + "  features:\n")


def test_what_the_api_adds_does_not_count() -> None:
    found = featureset_of(resource())
    file = parse_featureset(sorted_fields(SMALL).replace("{name: demo}", "{name: demo, namespace: team-a}"))
    assert found == file
    assert found.namespace == "team-a"


def test_a_file_needs_no_namespace() -> None:
    assert parse_featureset(SMALL).namespace is None
    assert parse_featureset(bent("name: demo", "name: demo, namespace: x")).namespace == "x"


def test_revisions_are_what_they_were() -> None:
    assert parse_featureset(SMALL).definition.revision == "cccea381db"
    assert parse_featureset(bent("version: v1", "version: v1\n  suspend: true")).definition.revision == "cccea381db"


def test_problems_have_paths_and_no_lines() -> None:
    data = resource(bent("n_1h, 0", "n_1hr, 0").replace("type: double", "type: dbl"))
    assert told(data) == (
        'spec.source.fields.amount.type: must be "string", "double", "integer" or "boolean", got "dbl"',
        'spec.features[2].expression: unknown feature "n_1hr"; did you mean "n_1h"?',
    )
    assert told({"kind": "FeatureSet"}) == ('apiVersion: must be "freshet.dev/v1alpha1", got nothing',)
    assert told({**resource(), "spec": None}) == ("spec: must be a mapping, got nothing",)
    assert told({**resource(), "metadata": []}) == ("metadata: must be a mapping, got a list",)


def test_text_that_no_file_could_hold_is_refused() -> None:
    data = resource()
    data["spec"]["features"][1]["where"] = "event_type = '\x07'"
    assert told(data) == (
        "spec.features[1].where: has a character that is not allowed: a control character or half of a pair",
    )


def test_a_resource_is_bounded_as_a_file_is() -> None:
    data = resource()
    long = "event_type = '" + "x" * 3_900 + "'"
    data["spec"]["features"] += [{"name": f"f{i}", "aggregate": "count", "where": long} for i in range(80)]
    assert told(data) == ("spec: is 310 KiB large; at most 256 KiB are allowed",)
    data["spec"]["features"] = [{"name": "n", "aggregate": "count", "windows": ["1h"] * 25_000}]
    assert "has more than 20000 values" in told(data)


def test_workers_read_the_same_without_what_only_a_deployment_needs() -> None:
    data = resource(bent("version: v1", "version: v1\n  suspend: true\n  processor: {maxReplicas: 3}"))
    data["spec"] |= {"rollout": {}, "history": {}, "drift": {}, "deletionPolicy": "Delete"}
    found = reduced(data)
    assert found["metadata"] == {"name": "demo", "namespace": "team-a"}
    assert set(found) == {"apiVersion", "kind", "metadata", "spec"}
    assert set(found["spec"]) == {"version", "entity", "source", "features"}
    assert data["spec"]["suspend"] is True
    assert featureset_of(found) == featureset_of(data)


@pytest.mark.parametrize("ensure_ascii", [True, False])
@pytest.mark.parametrize("literal", ["😀", "é", "a\\b", '"', "\t", "~", "\U0010fffd"])
def test_a_reduced_manifest_written_as_json_is_the_same_feature_set(literal: str, ensure_ascii: bool) -> None:
    data = resource()
    data["spec"]["features"][1]["where"] = f"event_type = '{literal}'"
    text = json.dumps(reduced(data), ensure_ascii=ensure_ascii, separators=(",", ":"))
    assert parse_featureset(text) == featureset_of(data)


@pytest.mark.parametrize("literal", ["\u0085", "\u2028", "\ufeff"])
def test_line_breaks_of_yaml_survive_in_escaped_json(literal: str) -> None:
    data = resource()
    data["spec"]["features"][1]["where"] = f"event_type = 'a{literal}b'"
    assert parse_featureset(json.dumps(reduced(data))) == featureset_of(data)


@pytest.mark.parametrize("default", [10**18, 10**19, 10**20, 10**300, -(10**25), 1e300, 0.1, 5e-324])
def test_numbers_are_the_same_for_the_operator_and_for_those_who_read_its_files(default: float) -> None:
    data = resource()
    data["spec"]["features"][2]["default"] = default
    assert parse_featureset(json.dumps(reduced(data))) == featureset_of(data)


@pytest.mark.parametrize("default", [10**301, 10**400, [1], {"a": 1}])
def test_defaults_that_are_no_number_text_or_truth_value(default: Any) -> None:
    data = resource()
    data["spec"]["features"][2]["default"] = default
    [line] = told(data)
    assert line.startswith("spec.features[2].default: ")


def test_half_a_pair_is_still_refused_in_a_file() -> None:
    with pytest.raises(ManifestError, match="half of a pair"):
        parse_featureset(bent("'buy'", "'buy\\ud83d'").replace('"event_type', '"event_type'))


def test_what_a_cluster_rewrites_changes_no_revision() -> None:
    """Its API sorts the names of mappings and writes 0.0 as 0."""
    resource = yaml.safe_load(SMALL)
    resource["spec"]["source"]["fields"] = {
        "z": {"type": "double", "minimum": 0.0},
        "a": {"type": "string"},
        **resource["spec"]["source"]["fields"],
    }
    rewritten = json.loads(json.dumps(resource, sort_keys=True).replace("0.0", "0"))
    assert list(rewritten["spec"]["source"]["fields"]) != list(resource["spec"]["source"]["fields"])
    assert featureset_of(rewritten).definition.revision == featureset_of(resource).definition.revision


@pytest.mark.parametrize("depth", [30, 900])
def test_no_depth_ends_its_reader(depth: int) -> None:
    """JSON is taken deeper than Python calls itself; one such manifest would keep all others of a configuration off."""
    deep: Any = "x"
    for _ in range(depth):
        deep = [deep]
    data = resource()
    data["spec"]["version"] = deep
    assert told(data) == ("spec.version: must be text, got a list",)
    with pytest.raises(ManifestError, match="unknown field"):
        experiment_of({**data, "kind": "Experiment"})
