"""What `freshet status` makes of the services' answers."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from freshet.cli import app
from freshet.runtime.side_server import Answer, SideServer

PROCESSOR = {
    "ready": False,
    "featureset": "clicks",
    "partitions": [0, 1],
    "rebuilding": {
        "1": {"progress": 0.41, "eta_seconds": 118, "sentence": "rebuilding partition 1: 41 %, 2 min"},
        "2": {"progress": 0, "eta_seconds": None, "sentence": "rebuilding partition 2: waits for its turn"},
    },
    "stopped": {"3": "SourceTruncated: partition 3: offsets are gone"},
    "lag": {"0": 7, "1": 12345},
    "group": "joined",
    "problem": None,
}


@pytest.fixture
def url() -> Iterator[str]:
    document = {"ready": False, "services": {"processor": PROCESSOR, "serving": {"ready": True, "store": "ok"}}}
    server = SideServer("127.0.0.1", 0, "test", lambda path, _: Answer(503, json.dumps(document).encode()))
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()


def test_every_partition_has_its_line(url: str) -> None:
    result = CliRunner().invoke(app, ["status", url], env={"COLUMNS": "160"})
    assert result.exit_code == 1
    lines = {words[1]: line for line in result.output.splitlines() if (words := line.split())[:1] == ["clicks"]}
    assert "complete" in lines["0"]
    assert "12,345" in lines["1"]
    assert "rebuilding partition 1: 41 %, 2 min" in lines["1"]
    assert "waits for its turn" in lines["2"]
    assert "SourceTruncated: partition 3" in lines["3"]


def test_the_same_as_json(url: str) -> None:
    result = CliRunner().invoke(app, ["status", url, "--output", "json"])
    found = json.loads(result.output)
    assert found["ready"] is False
    assert [(p["partition"], p["state"], p["lag"]) for p in found["partitions"]] == [
        (0, "complete", 7),
        (1, "rebuilding", 12345),
        (2, "rebuilding", None),
        (3, "stopped", None),
    ]
    assert found["services"]["serving"] == {"ready": True, "store": "ok"}


def test_a_service_that_does_not_answer_is_told() -> None:
    result = CliRunner().invoke(app, ["status", "http://127.0.0.1:9"], env={"COLUMNS": "160"})
    assert result.exit_code == 1
    assert "does not answer" in result.output


def test_an_origin_that_is_rekeyed_has_its_lines_too() -> None:
    stage = {
        "ready": False,
        "origin": "raw",
        "topic": "raw.by.card",
        "partitions": [0],
        "stopped": {"1": "OriginTruncated: partition 1 of raw begins at offset 9"},
        "lag": {"0": 3},
        "group": "joined",
        "problem": None,
    }
    server = SideServer("127.0.0.1", 0, "test", lambda path, _: Answer(503, json.dumps(stage).encode()))
    try:
        result = CliRunner().invoke(app, ["status", f"http://127.0.0.1:{server.port}"], env={"COLUMNS": "160"})
    finally:
        server.shutdown()
    lines = [line.split() for line in result.output.splitlines() if "raw → raw.by.card" in line]
    assert lines[0][3:] == ["0", "copied", "3"]
    assert lines[1][3:6] == ["1", "stopped", "OriginTruncated:"]
