"""YAML files of the chart, and those of images and workflows if they are there."""

from __future__ import annotations

import json

import pytest
from charting import BIN, CHART, REPOSITORY, run

DOCKERFILES = sorted(REPOSITORY.glob("*/Dockerfile"))
WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yaml"))
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


def test_hadolint() -> None:
    assert len(DOCKERFILES) == 2, DOCKERFILES
    done = run(str(BIN / "hadolint"), "--failure-threshold", "style", *map(str, DOCKERFILES))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("schema", ["vendor.github-workflows", "custom.github-workflows-require-timeout"])
def test_workflows_are_workflows(schema: str) -> None:
    assert WORKFLOWS
    done = run(str(BIN / "check-jsonschema"), "--builtin-schema", schema, *map(str, WORKFLOWS))
    assert done.returncode == 0, done.stdout + done.stderr


def test_checkov_finds_nothing_in_images_and_workflows(checkov: str) -> None:
    """Skips stand in the files, with their reasons."""
    files = [str(path.relative_to(REPOSITORY)) for path in (*DOCKERFILES, *WORKFLOWS)]
    options = ["--framework", "dockerfile", "github_actions", "--compact", "--file", *files]
    done = run(checkov, *options, folder=REPOSITORY)
    assert "dockerfile scan results" in done.stdout, done.stdout + done.stderr
    assert "github_actions scan results" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0, done.stdout[-6000:]


@pytest.mark.parametrize("path", YAML_FILES, ids=lambda path: path.name)
def test_no_secret_and_no_private_address(path) -> None:
    text = path.read_text()
    for word in ("BEGIN PRIVATE", "AKIA", "bitnami/"):
        assert word not in text
