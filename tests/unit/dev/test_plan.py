"""What `freshet plan` says of a manifest and of a change of it."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from typer.testing import CliRunner

from freshet.cli import app
from freshet.dev.plan import plan_of
from freshet.engine.layout import Layout
from freshet.spec.load import parse_featureset
from tests.unit.spec.manifests import SMALL, bent

EXAMPLE = Path("examples/user-activity/featureset.yaml")


def test_windows_accumulators_and_bytes_of_the_example() -> None:
    featureset = parse_featureset(EXAMPLE.read_text(encoding="utf-8"))
    plan = plan_of(featureset)
    assert [(w.window, w.hop, w.tiles) for w in plan.windows] == [
        ("1h", "1m", 62),
        ("6h", "5m", 74),
        ("24h", "15m", 98),
        ("7d", "1h", 170),
    ]
    shared = {(s.accumulator, s.of, s.where, s.span): s.features for s in plan.shared}
    assert shared["count", "", "", "tiles"] == [f"activity_count_{w}" for w in ("1h", "6h", "24h", "7d")] + [
        "activity_rate_1h"
    ]
    layout = Layout(featureset.definition)
    life = sum(s.bytes or 0 for s in plan.shared if s.span == "life")
    assert life == 8 * (layout.life.width + sum(5 for _ in layout.sessions))
    assert plan.light_bytes < 2_000 < plan.worst_bytes
    assert plan.retention_needed == "170h"


CHANGES = [
    ("version: v1", "version: v1", False, [], [], []),
    ("version: v1", "version: v2", False, [], ["version: v1 → v2"], []),
    ("[1h, 24h]", "[1h, 6h]", True, ["features: n_6h is new", "features: n_24h is gone"], [], ["version"]),
    ("event_type = 'buy'", "event_type = 'sell'", True, ["features: total has another of or where"], [], ["version"]),
    ("version: v1", "version: v1\n  timezone: Asia/Tokyo", True, ["timezone: UTC → Asia/Tokyo"], [], ["version"]),
]


@pytest.mark.parametrize(("old", "new", "rebuild", "reasons", "in_place", "refused"), CHANGES)
def test_what_a_change_does(
    old: str, new: str, rebuild: bool, reasons: list[str], in_place: list[str], refused: list[str]
) -> None:
    change = plan_of(parse_featureset(bent(old, new)), parse_featureset(SMALL)).change
    assert change is not None
    assert (change.rebuild, change.reasons, change.in_place) == (rebuild, reasons, in_place)
    assert [text.split(":")[0] for text in change.refused] == refused


def test_the_command_writes_json_and_text(tmp_path: Path) -> None:
    before = tmp_path / "before.yaml"
    before.write_text(EXAMPLE.read_text(encoding="utf-8").replace("retention: 9d", "retention: 8d"), encoding="utf-8")
    told = CliRunner().invoke(app, ["plan", str(EXAMPLE), "--before", str(before), "--output", "json"])
    [document] = json.loads(told.output)
    in_place = ["source.retention: 8d → 9d"]
    assert document["change"] == {"rebuild": False, "reasons": [], "in_place": in_place, "refused": []}
    text = CliRunner().invoke(app, ["plan", str(EXAMPLE), "--before", str(before)])
    assert "changes in place: source.retention: 8d → 9d" in text.output
    assert text.exit_code == told.exit_code == 0


def test_what_rekeying_makes_is_told() -> None:
    plan = plan_of(parse_featureset(bent("retention: 8d", "retention: 8d\n    rekey: true")))
    assert (plan.topic, plan.origin) == ("raw-events.by.user", "raw-events")
    (told,) = [text for text in plan.warnings if "copies" in text]
    assert "raw-events that have user_id into raw-events.by.user: each is kept once more for 8d" in told
    change = plan_of(
        parse_featureset(bent("retention: 8d", "retention: 8d\n    rekey: true")), parse_featureset(SMALL)
    ).change
    assert change is not None
    assert change.refused == ["source.topic: raw-events → raw-events.by.user"]
    (shown,) = [line for line in plan_lines("rekey: true") if "copied from raw-events" in line]
    assert "raw-events.by.user" in shown


def plan_lines(field: str) -> list[str]:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "f.yaml"
        file.write_text(bent("retention: 8d", f"retention: 8d\n    {field}"))
        result = CliRunner().invoke(app, ["plan", str(file)], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result.output.splitlines()
