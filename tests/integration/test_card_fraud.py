"""The example with three entities out of one topic: every value is what SQL says of the log that it is made from, and
each of these logs is what the topic holds for the entity."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from freshet.dev.http import Connection, fetch
from freshet.dev.stack import Ports, Stack
from freshet.dev.topic_log import read_topic
from freshet.dev.verify import verify
from freshet.runtime.settings import KafkaSettings
from tests.integration.test_serving_failures import eventually

pytestmark = pytest.mark.server

EXAMPLE = Path(__file__).parent.parent.parent / "examples/card-fraud"
PAYMENTS, BATCH = 3_000, 100


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The example, as `freshet dev examples/card-fraud` runs it, without history."""
    with Stack([EXAMPLE], tmp_path_factory.mktemp("fraud"), Ports(0, 0, 0), history=False) as running:
        yield running


def made() -> list[dict[str, Any]]:
    spec = importlib.util.spec_from_file_location("payments", EXAMPLE / "payments.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return list(module.payments(PAYMENTS, 7, time.time_ns() // 1_000_000))


def test_every_value_is_what_sql_says(stack: Stack) -> None:
    events = made()
    settings = KafkaSettings(bootstrap=stack.kafka.bootstrap)
    with Connection(stack.ingest_url) as ingest:
        for start in range(0, len(events), BATCH):
            body = json.dumps(events[start : start + BATCH]).encode()
            answer = ingest.call("POST", "/ingest", body)
            assert answer.status == 202, answer
            assert answer.json()["rejected"] == []
            if start == 10 * BATCH:
                (stage,) = [service for service in stack.services if service.name == "rekey-card"]
                os.kill(stage.process.pid, signal.SIGKILL)
            stack.check()

    raw = [json.loads(record.value) for part in read_topic(settings, "raw-events").values() for record in part]
    assert Counter(e["event_id"] for e in raw) == Counter(e["event_id"] for e in events)

    def copied(entity: str) -> Counter[str]:
        stack.check()
        parts = read_topic(settings, f"raw-events.by.{entity}").values()
        return Counter(json.loads(record.value)["event_id"] for part in parts for record in part)

    def equal(entity: str, wanted: Counter[str]) -> bool:
        return copied(entity) == wanted

    for entity in ("card", "device"):
        wanted = Counter(event["event_id"] for event in raw if event.get(f"{entity}_id") is not None)
        assert len(wanted) > PAYMENTS / 2
        eventually(partial(equal, entity, wanted), 60)

    for featureset in stack.featuresets:
        verdict = verify(featureset, settings, stack.serving_url, most=10_000, patience_seconds=60)
        seen = {event.get(featureset.definition.key) for event in raw} - {None}
        assert verdict.entities == len(seen), "each entity was read"
        assert not verdict.wrong, "\n".join(map(str, verdict.wrong[:10]))


def test_serving_answers_by_entity(stack: Stack) -> None:
    for entity, key in (("user", "user_1"), ("card", "card_1_0"), ("device", "farm_1")):
        answer = fetch(stack.serving_url, f"/features/{key}?entity={entity}").json()
        assert answer[f"{entity}_id"] == key
        assert answer["features"]["payments_24h"]["value"] > 0
    assert fetch(stack.serving_url, "/features/farm_1/cards_7d?entity=device").json()["value"] > 10
