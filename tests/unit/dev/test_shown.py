"""What the commands show of a manifest and of the settings."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
from rich.console import Console

from freshet.dev.catalogue import featureset_table
from freshet.dev.sample import sample_event
from freshet.dev.variables import help_lines
from freshet.engine.decode import EventDecoder
from freshet.runtime.settings import IngestSettings, ProcessorSettings
from freshet.spec.durations import duration_text
from freshet.spec.load import load_featuresets

EXAMPLE = Path(__file__).parents[3] / "examples" / "user-activity" / "featureset.yaml"


def test_the_table_names_every_entry() -> None:
    (featureset,) = load_featuresets([EXAMPLE])
    console = Console(width=120)
    with console.capture() as capture:
        console.print(featureset_table(featureset))
    text = capture.get()
    for name in ("activity_count_…", "minutes_since_purchase", "engagement_score", "7d (1h)", "24h (15m)"):
        assert name in text
    assert featureset.definition.revision in text


def test_durations_are_written_as_in_a_manifest() -> None:
    assert [duration_text(ms) for ms in (86_400_000, 5_400_000, 60_000, 5_000, 1_500, 0)] == [
        "1d", "90m", "1m", "5s", "1500ms", "0s",
    ]  # fmt: skip


def test_the_sample_event_is_accepted_by_its_own_manifest() -> None:
    (featureset,) = load_featuresets([EXAMPLE])
    event = sample_event(featureset.definition, "user_alice", "evt_001")
    assert event["event_type"] == "page_view", "a value that the manifest itself compares with"
    assert event["geo"] == {"city": "text"}
    decoder = EventDecoder(featureset.definition)
    assert decoder.examine(msgspec.json.encode(event), time.time_ns() // 1_000_000) is None


def test_help_lists_every_variable_with_meaning_and_default() -> None:
    lines = {line.split(":")[0]: line for line in help_lines(ProcessorSettings)}
    assert "Required." in lines["FRESHET_KAFKA"]
    assert "Required." in lines["FRESHET_REDIS"]
    assert "Default: default." in lines["FRESHET_NAMESPACE"]
    assert "Default: none." in lines["FRESHET_FEATURESET"]
    for line in [*lines.values(), *help_lines(IngestSettings)]:
        name, meaning, *_ = line.split(": ", 1)
        assert name.startswith("FRESHET_")
        assert len(meaning) > 30, f"{name} has no meaning"
