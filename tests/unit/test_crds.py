"""The CRDs: generated, structural, bounded, with a bad manifest for every rule, and no stricter than the validator."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from freshet.dev.crds.files import crd_files, crds
from freshet.spec.experiment import experiment_of
from freshet.spec.load import parse_featureset
from freshet.spec.problems import ManifestError
from freshet.spec.resource import featureset_of
from tests.cluster.bad.cases import EXPERIMENT, FEATURESET, Case, Object, cases

ROOT = Path(__file__).parents[2]
EXAMPLE = (ROOT / "examples/user-activity/featureset.yaml").read_text(encoding="utf-8")

FEATURESETS, EXPERIMENTS = crds()


def schema_of(crd: Object) -> Object:
    """The OpenAPI schema of the CRD's one version."""
    found: Object = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


def nodes(schema: Object, path: str = "") -> Iterator[tuple[str, Object]]:
    """Every schema with its path: `spec.features[*].name`, `spec.source.fields[*]`."""
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from nodes(inner, f"{path}.{name}" if path else name)
    for word in ("items", "additionalProperties"):
        if word in schema:
            yield from nodes(schema[word], f"{path}[*]")


@pytest.mark.parametrize("name", crd_files())
def test_the_files_are_those_of_the_models(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == crd_files()[name], "run `make crds`"


@pytest.mark.parametrize("crd", [FEATURESETS, EXPERIMENTS], ids=["FeatureSet", "Experiment"])
def test_schemas_are_structural_and_everything_in_them_is_bounded(crd: Object) -> None:
    for path, schema in nodes(schema_of(crd)):
        assert not {"$ref", "$defs", "anyOf", "oneOf", "allOf", "not", "title", "pattern"} & set(schema), path
        assert "type" in schema or schema.get("x-kubernetes-preserve-unknown-fields"), path
        if schema.get("type") == "array":
            assert "maxItems" in schema, path
        if "additionalProperties" in schema:
            assert "maxProperties" in schema, path
        if schema.get("type") == "string" and path not in ("apiVersion", "kind"):
            assert "maxLength" in schema or "enum" in schema, path


@pytest.mark.parametrize("crd", [FEATURESETS, EXPERIMENTS], ids=["FeatureSet", "Experiment"])
def test_every_field_of_the_spec_is_explained(crd: Object) -> None:
    silent = [path for path, schema in nodes(schema_of(crd)) if path.startswith("spec") and "description" not in schema]
    assert [path for path in silent if not path.endswith("[*]")] == []


def rules(crd: Object) -> list[tuple[str, str]]:
    """The place that each CEL rule's error is shown at, and its message as a regular expression."""
    found = []
    for path, schema in nodes(schema_of(crd)):
        for rule in schema.get("x-kubernetes-validations", []):
            written = rule.get("message") or ""
            if "messageExpression" in rule:
                literals = re.findall(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"", rule["messageExpression"])
                longest = max((one or other for one, other in literals), key=len)
                written = longest.replace("\\'", "'").replace('\\"', '"')
            message = re.escape(written).replace("%d", ".+").replace("%s", ".+")
            place = re.escape(path + rule.get("fieldPath", "")).replace(r"\[\*\]", r"\[[^\]]+\]") or "<nil>"
            found.append((place, message))
    return found


@pytest.mark.parametrize("file", ["featuresets", "experiments"])
def test_every_rule_has_a_bad_manifest(file: str) -> None:
    says = [case.says for case in cases(file)]
    crd = EXPERIMENTS if file == "experiments" else FEATURESETS
    found = rules(crd)
    assert len(found) > 10
    unseen = [one for one in found if not any(re.search(rf"(^|\[|, ){one[0]}: .*{one[1]}", text) for text in says)]
    assert unseen == []


@pytest.mark.parametrize("case", [c for f in ("featuresets", "experiments") for c in cases(f)], ids=str)
def test_the_validator_refuses_what_the_cluster_refuses(case: Case) -> None:
    read = featureset_of if case.manifest["kind"] == "FeatureSet" else experiment_of
    if case.before is not None:
        read(case.manifest)  # a rule about a change: both sides are good
        read(case.before)
        return
    with pytest.raises(ManifestError):
        read(case.manifest)


def defaulted(value: Any, schema: Object) -> Any:
    """What the API server makes of a value: the schema's defaults in place of what is omitted."""
    if isinstance(value, dict):
        found = copy.deepcopy(value)
        for name, inner in schema.get("properties", {}).items():
            if name not in found and "default" in inner:
                found[name] = copy.deepcopy(inner["default"])
            if name in found:
                found[name] = defaulted(found[name], inner)
        if "additionalProperties" in schema:
            found = {name: defaulted(one, schema["additionalProperties"]) for name, one in found.items()}
        return found
    if isinstance(value, list):
        return [defaulted(one, schema["items"]) for one in value]
    return value


BARE = {**FEATURESET, "spec": {k: v for k, v in FEATURESET["spec"].items() if k in ("version", "entity")}}
BARE["spec"]["features"] = [{"name": "n", "aggregate": "count"}]


@pytest.mark.parametrize("manifest", [FEATURESET, BARE, yaml.safe_load(EXAMPLE)], ids=["small", "bare", "example"])
def test_defaults_of_the_schema_are_those_of_the_models(manifest: Object) -> None:
    full = defaulted(manifest, schema_of(FEATURESETS))
    assert full["spec"]["processor"]["targetLag"] == 5000
    assert "maxReplicas" not in defaulted(BARE, schema_of(FEATURESETS))["spec"]["processor"]
    assert featureset_of(full) == featureset_of(manifest)


def test_few_partitions_need_no_maximum_of_replicas() -> None:
    few = {**BARE, "spec": {**BARE["spec"], "source": {"partitions": 4}}}
    assert featureset_of(defaulted(few, schema_of(FEATURESETS))).source.partitions == 4


def test_an_experiments_defaults_are_those_of_the_model() -> None:
    full = defaulted(EXPERIMENT, schema_of(EXPERIMENTS))
    assert full["spec"]["traffic"] == "100%"
    assert full["spec"]["holdout"] == "0%"
    assert experiment_of(full) == experiment_of(EXPERIMENT)


def test_names_and_columns_are_the_contract_with_people() -> None:
    assert FEATURESETS["spec"]["names"]["shortNames"] == ["fs"]
    assert EXPERIMENTS["spec"]["names"]["shortNames"] == ["exp"]
    columns = FEATURESETS["spec"]["versions"][0]["additionalPrinterColumns"]
    shown = [column["name"] for column in columns if not column.get("priority")]
    assert shown == ["Version", "Serving", "Ready", "Phase", "Lag", "Freshness", "Reason", "Age"]


def test_the_good_manifests_are_good() -> None:
    assert parse_featureset(yaml.safe_dump(FEATURESET)).name == "demo"
    assert experiment_of(EXPERIMENT).spec.traffic == 10_000
