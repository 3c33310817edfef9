"""POST /ingest against a real Kafka: what is answered is what the topic holds."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from confluent_kafka.admin import AdminClient

from freshet.dev.servers import EmbeddedKafka
from freshet.runtime.settings import KafkaSettings
from freshet.spec.partitioning import partition_of
from freshet.stores import kafka as clients
from tests.integration.ingest_service import featureset, records, serving, values

pytestmark = pytest.mark.server

GOOD: dict[str, Any] = {"user_id": "alice", "event_type": "view", "timestamp": "2026-01-05T10:30:00Z"}


def wait_ready(url: str) -> None:
    end = time.monotonic() + 20
    while (answer := httpx.get(url + "/ready")).status_code != 200:
        assert time.monotonic() < end, answer.text
        time.sleep(0.1)


@pytest.fixture(scope="module")
def url(kafka: EmbeddedKafka) -> Iterator[str]:
    with serving(kafka.bootstrap, [featureset("ingest-events")]) as found:
        wait_ready(found)
        yield found


def send(url: str, body: str | bytes, **headers: str) -> httpx.Response:
    return httpx.post(url + "/ingest", content=body, headers={k.replace("_", "-"): v for k, v in headers.items()})


def test_topics_are_made_as_the_manifest_says(kafka: EmbeddedKafka, url: str) -> None:
    admin: AdminClient = clients.admin(KafkaSettings(bootstrap=kafka.bootstrap))
    info = clients.describe_topic(admin, "ingest-events")
    assert (info.partitions, info.timestamp_type, info.retention_ms) == (3, "LogAppendTime", 8 * 86_400_000)
    assert len(info.topic_id) > 10
    assert clients.describe_topic(admin, "dead-letter-queue").retention_ms == 30 * 86_400_000
    assert clients.ensure_topics(admin, [featureset("ingest-events")], "dead-letter-queue") == []


def test_the_record_is_the_event_with_what_was_missing(kafka: EmbeddedKafka, unique: Callable[[str], str]) -> None:
    topic = unique("events")
    with serving(kafka.bootstrap, [featureset(topic)]) as url:
        wait_ready(url)
        sent = {**GOOD, "user_id": "zoë", "number": 12345678901234567890, "nested": {"a": [1.50, None]}}
        text = json.dumps(sent, ensure_ascii=False).replace("1.5,", "1.50,")
        answer = send(url, text.encode(), content_type="application/json")
        assert answer.status_code == 202
        body = answer.json()
        assert (body["accepted"], body["rejected"]) == (1, [])
        (record,) = records(kafka.bootstrap, topic)
        assert record.key() == "zoë".encode()
        assert record.partition() == partition_of("zoë", 3, "murmur2")
        value = record.value() or b""
        assert value.startswith(text[:-1].encode())
        stored = json.loads(value)
        assert stored.pop("event_id") == body["event_ids"][0]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", stored.pop("received_at"))
        assert stored == sent


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/x-www-form-urlencoded", "text/plain", "application/cloudevents+json", ""],
)
def test_any_type_that_holds_json_is_taken(url: str, content_type: str) -> None:
    event = json.dumps({**GOOD, "event_id": "mine"}, indent=2)
    answer = send(url, event, content_type=content_type)
    assert (answer.status_code, answer.json()) == (202, {"accepted": 1, "rejected": [], "event_ids": ["mine"]})


def test_arrays_and_lines_are_judged_one_by_one(kafka: EmbeddedKafka, unique: Callable[[str], str]) -> None:
    topic = unique("events")
    with serving(kafka.bootstrap, [featureset(topic)]) as url:
        wait_ready(url)
        events = [{**GOOD, "event_id": str(i)} for i in range(2500)]
        events[7] = {"user_id": "bob"}
        answer = send(url, json.dumps(events)).json()
        assert answer["accepted"] == 2499
        assert [one["index"] for one in answer["rejected"]] == [7]
        assert answer["event_ids"] == [None if i == 7 else str(i) for i in range(2500)]
        lines = "\n".join([json.dumps(GOOD), "", "{broken", json.dumps({**GOOD, "amount": -1})])
        answer = send(url, lines, content_type="application/x-ndjson").json()
        assert answer["accepted"] == 1
        assert [(r["index"], r["reason"], r.get("field")) for r in answer["rejected"]] == [
            (1, "not_json", None),
            (2, "out_of_range", "amount"),
        ]
        assert send(url, lines, content_type="").json()["accepted"] == 1
        assert len(values(kafka.bootstrap, topic)) == 2501


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "empty"),
        (b"[]", 400, "empty"),
        (b"nonsense", 400, "not_json"),
        (b"[{]", 400, "not_json"),
        (b"5", 422, "wrong_type"),
        (b"[5]", 422, "wrong_type"),
        (b'{"user_id": "\xff"}', 400, "bad_utf8"),
        (b"[" * 5000 + b"]" * 5000, 400, "too_deep"),
        (b'{"user_id":"a","timestamp":0,"event_type":"v","x":' + b"[" * 5000 + b"]" * 5000 + b"}", 400, "too_deep"),
        (json.dumps({**GOOD, "user_id": ""}).encode(), 422, "bad_key"),
        (json.dumps({**GOOD, "user_id": "x" * 600}).encode(), 422, "bad_key"),
        (json.dumps({**GOOD, "user_id": "x\0"}).encode(), 422, "bad_key"),
        (json.dumps({"timestamp": 0, "event_type": "v"}).encode(), 422, "missing_key"),
        (json.dumps({**GOOD, "timestamp": "2026-01-05T10:30:00"}).encode(), 422, "bad_timestamp"),
        (json.dumps({**GOOD, "timestamp": "2099-01-05T10:30:00Z"}).encode(), 422, "future"),
        (json.dumps({"user_id": "a", "event_type": "v"}).encode(), 422, "missing_timestamp"),
        (json.dumps({"user_id": "a", "timestamp": 0}).encode(), 422, "missing_field"),
        (json.dumps({**GOOD, "amount": "1"}).encode(), 422, "wrong_type"),
        (json.dumps({**GOOD, "other": "x" * (1 << 20)}).encode(), 413, "too_large"),
        (b" " * ((10 << 20) + 1), 413, "body_too_large"),
        (json.dumps([0] * 10_001).encode(), 413, "too_many_events"),
    ],
)
def test_what_is_bad_gets_a_clear_answer(url: str, body: bytes, status: int, code: str) -> None:
    answer = send(url, body)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["code"] == code
    assert len(error["message"]) > 15


def test_a_chunked_body_is_bounded_too(url: str) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(11):
            yield b" " * (1 << 20)

    answer = httpx.post(url + "/ingest", content=chunks())
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")


def test_other_requests_get_a_clear_answer(url: str) -> None:
    assert send(url, json.dumps(GOOD), content_type="image/png").status_code == 415
    assert send(url, json.dumps(GOOD), content_encoding="gzip").status_code == 415
    answer = httpx.get(url + "/ingest")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert httpx.post(url + "/ingest?topic=nope", content=b"{}").status_code == 404
    assert httpx.post(url + "/ingest?partition=1", content=b"{}").status_code == 400
    assert httpx.post(url + "/ingest?topic=ingest-events", content=json.dumps(GOOD)).status_code == 202
    answer = httpx.get(url + "/nope")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


def test_health_ready_metrics_and_description(url: str) -> None:
    assert httpx.get(url + "/health").json() == {"status": "ok"}
    assert httpx.get(url + "/ready").json() == {"ready": True, "kafka": "ok"}
    send(url, json.dumps(GOOD))
    exposed = httpx.get(url + "/metrics").text
    assert 'events_accepted_total{topic="ingest-events"}' in exposed
    assert 'http_request_seconds_count{route="/ingest",status="202"}' in exposed
    assert "/ingest" in httpx.get(url + "/openapi.json").json()["paths"]


def test_several_topics_are_told_apart(kafka: EmbeddedKafka, unique: Callable[[str], str]) -> None:
    users, cards = unique("users"), unique("cards")
    sets = [
        featureset(users, "strict"),
        featureset(users, "lenient", required="false"),
        featureset(cards, "cards", entity="card", key="card"),
    ]
    with serving(kafka.bootstrap, sets) as url:
        wait_ready(url)
        untyped = json.dumps({"user_id": "a", "timestamp": 0})
        card = json.dumps({"card": 7, "timestamp": 0, "event_type": "pay"})
        answer = send(url, untyped)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "ambiguous_topic")
        assert httpx.post(f"{url}/ingest?topic={users}", content=untyped).status_code == 202
        assert httpx.post(f"{url}/ingest?entity=card", content=card).status_code == 202
        assert httpx.post(f"{url}/ingest?featureset=cards", content=untyped).status_code == 422
        assert [r.key() for r in records(kafka.bootstrap, cards)] == [b"7"]
        assert len(values(kafka.bootstrap, users)) == 1


@pytest.mark.parametrize("partitioner", ["murmur2", "consistent"])
def test_keys_go_where_readers_look_for_them(
    kafka: EmbeddedKafka, unique: Callable[[str], str], partitioner: str
) -> None:
    topic = unique("events")
    plain = featureset(topic)
    with serving(kafka.bootstrap, [replace(plain, source=replace(plain.source, partitioner=partitioner))]) as url:
        wait_ready(url)
        keys = [*(f"user-{i}" for i in range(200)), "zoë", "用户", "x" * 512, " "]
        assert send(url, json.dumps([{**GOOD, "user_id": key} for key in keys])).json()["accepted"] == len(keys)
        found = {(record.key() or b"").decode(): record.partition() for record in records(kafka.bootstrap, topic)}
        assert found == {key: partition_of(key, 3, partitioner) for key in keys}


def test_without_kafka_nothing_is_accepted_and_it_recovers_by_itself(own_kafka: EmbeddedKafka) -> None:
    with serving(own_kafka.bootstrap, [featureset("events")], acknowledge_timeout_ms=2000) as url:
        wait_ready(url)
        assert send(url, json.dumps(GOOD)).status_code == 202
        own_kafka.stop()
        for _ in range(3):
            answer = httpx.post(url + "/ingest", content=json.dumps(GOOD), timeout=10)
            assert (answer.status_code, int(answer.headers["retry-after"])) == (503, 2)
        assert httpx.get(url + "/health").status_code == 200
        own_kafka.start()
        wait_ready(url)
        assert send(url, json.dumps({**GOOD, "event_id": "last"})).status_code == 202
        assert "last" in [value["event_id"] for value in values(own_kafka.bootstrap, "events")]
