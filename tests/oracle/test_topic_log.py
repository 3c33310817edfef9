"""The oracle's own reading of records takes the events that the engine takes, whatever stands for key and id."""

from __future__ import annotations

import json

import duckdb
import pytest

from freshet.dev.topic_log import Raw, log_of_records
from freshet.engine.decode import EventDecoder
from freshet.spec.load import parse_featureset
from tests.chaos.manifests import cards

NOW = 1_800_000_000_000
VALUES = ["a", 7, -1, 2**64 - 1, 1.5, 7.0, 1e3, True, False, ["x"], {"x": 1}, "", None]


@pytest.mark.parametrize("field", ["card_id", "event_id"])
def test_what_can_be_no_key_or_id_is_malformed(field: str) -> None:
    definition = parse_featureset(cards("events")).definition
    usual = {"card_id": "c", "event_id": "e", "timestamp": NOW, "kind": "view"}
    events = [json.dumps(usual | {field: value}).encode() for value in VALUES]
    judged = EventDecoder(definition).judge(events, NOW)
    with duckdb.connect(config={"threads": 1}) as database:
        log = log_of_records([Raw(i, NOW, event) for i, event in enumerate(events)], definition, database)
    assert [VALUES[i] for i in range(len(VALUES)) if not log.malformed[i]] == [VALUES[i] for i in judged.positions]
    if field == "card_id":
        assert [key for key in log.keys if key] == list(judged.keys)
