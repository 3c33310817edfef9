"""YAML files of the chart, and those of images and workflows if they are there."""

from __future__ import annotations

import json

import pytest
from charting import BIN, CHART, REPOSITORY, run

YAML_FILES = sorted(
    [CHART / "Chart.yaml", CHART / "values.yaml", CHART / "values-dev.yaml", *(CHART / "ci").glob("*.yaml")]
)


def test_yamllint() -> None:
    done = run(str(BIN / "yamllint"), "--strict", "-c", str(REPOSITORY / "charts" / ".yamllint"), *map(str, YAML_FILES))
    assert done.returncode == 0, done.stdout


def test_schema_is_a_schema() -> None:
    path = CHART / "values.schema.json"
    done = run(str(BIN / "check-jsonschema"), "--check-metaschema", str(path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "http" not in json.dumps(json.loads(path.read_text())["definitions"]), "no remote $ref"


@pytest.mark.parametrize("path", YAML_FILES, ids=lambda path: path.name)
def test_no_secret_and_no_private_address(path) -> None:
    text = path.read_text()
    for word in ("BEGIN PRIVATE", "AKIA", "bitnami/"):
        assert word not in text
