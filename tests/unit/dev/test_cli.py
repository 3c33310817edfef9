"""The command line as a user meets it."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from freshet import __version__
from freshet.cli import app

EXAMPLE = Path(__file__).parents[3] / "examples" / "user-activity" / "featureset.yaml"
runner = CliRunner()


def test_version() -> None:
    result = runner.invoke(app, ["--version"])
    assert (result.exit_code, result.output) == (0, f"freshet {__version__}\n")


def test_without_a_command_the_commands_are_listed() -> None:
    output = runner.invoke(app, []).output
    for command in ("dev", "demo", "send", "simulate", "validate", "ingest", "processor", "serving"):
        assert command in output


def test_validate_shows_what_a_manifest_means() -> None:
    result = runner.invoke(app, ["validate", str(EXAMPLE)])
    assert result.exit_code == 0
    assert "engagement_score" in result.output


def test_validate_names_file_line_and_field(tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(EXAMPLE.read_text().replace("aggregate: count, windows", "aggregate: cuont, windows", 1))
    result = runner.invoke(app, ["validate", str(path)])
    assert result.exit_code == 2
    assert f"{path}:" in result.output
    assert "spec.features[0].aggregate" in result.output


@pytest.mark.parametrize("service", ["ingest", "processor", "serving"])
def test_a_service_lists_its_variables(service: str) -> None:
    result = runner.invoke(app, [service, "--help"])
    assert result.exit_code == 0
    assert "FRESHET_MANIFESTS" in result.output
    assert "FRESHET_GRACE_SECONDS" in result.output


@pytest.mark.parametrize("service", ["ingest", "processor", "serving"])
def test_a_service_without_settings_says_which_are_missing(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FRESHET_MANIFESTS", raising=False)
    result = runner.invoke(app, [service])
    assert result.exit_code == 2
    assert "FRESHET_MANIFESTS is not set" in result.output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["send", "none.csv"], "there is no such file"),
        (["send", str(EXAMPLE)], "must end in"),
        (["simulate", "--start", "soon"], "is not an ISO 8601 time"),
        (["simulate", "--url", "nonsense", "--duration", "1"], "is not of the form http://host:port"),
    ],
)
def test_wrong_input_is_one_sentence_and_no_traceback(arguments: list[str], told: str) -> None:
    result = runner.invoke(app, arguments)
    assert result.exit_code == 1
    assert told in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("option", "told"),
    [
        (["--map", "user_id"], "not of the form event_field=column"),
        (["--const", "x"], "not of the form event_field=value"),
        (["--timezone", "Mars/Base"], "is no time zone"),
        (["--map", "user_id=Nope"], "has no column Nope; it has id, at"),
        (["--shift-to-now", "--timestamp", "when"], "no row of"),
    ],
)
def test_wrong_options_of_send(tmp_path: Path, option: list[str], told: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,at\nx,2026-01-05 10:30:00\n")
    result = runner.invoke(app, ["send", str(path), *option])
    assert result.exit_code == 1
    assert told in " ".join(result.output.split())


def test_simulate_writes_the_same_file_for_the_same_seed(tmp_path: Path) -> None:
    for name in "ab":
        arguments = ["--duration", "5", "--start", "2026-01-05T10:30:00Z", "--output", str(tmp_path / name)]
        assert runner.invoke(app, ["simulate", *arguments]).exit_code == 0
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert len((tmp_path / "a").read_text().splitlines()) > 400
