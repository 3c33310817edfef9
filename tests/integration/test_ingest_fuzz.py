"""No body gets a 500, and each event that is answered 202 is in Kafka and is one that the processor accepts."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from freshet.dev.servers import EmbeddedKafka
from freshet.engine.decode import EventDecoder
from tests.fuzzing import MADE, examples, made
from tests.integration.http_fuzz import Route, bend, check, exchange
from tests.integration.ingest_service import featureset, serving, values
from tests.integration.test_ingest import GOOD, wait_ready

pytestmark = pytest.mark.server

FUZZ = settings(max_examples=examples(300, 5_000), deadline=None, suppress_health_check=list(HealthCheck))
TOPIC = "events-fuzz"
ODD = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6), st.just("x" * 600), st.just(10**400)
)
JSON = st.recursive(ODD, lambda one: st.lists(one, max_size=3) | st.dictionaries(st.text(max_size=4), one, max_size=3))
NAMES = st.sampled_from([*GOOD, "amount", "other", ""])
EVENTS = st.dictionaries(NAMES, JSON, max_size=4).map(lambda changes: {**GOOD, **changes}) | st.just(GOOD)
WHERE = [("topic", TOPIC), ("featureset", "activity"), ("entity", "user")]
ROUTES = (
    Route("POST", "/ingest", WHERE, GOOD),
    Route("POST", "/ingest", body=[GOOD, {**GOOD, "amount": 2.5, "geo": {"city": ["x"]}}, GOOD]),
    Route(
        "POST",
        "/ingest",
        body={**GOOD, "user_id": 2**60, "event_id": 7, "amount": 0},
        headers={"content-type": "text/plain"},
    ),
    Route("GET", "/metrics"),
    Route("GET", "/ready"),
    Route("GET", "/openapi.json"),
)
KINDS = st.sampled_from(["application/json", "application/x-ndjson", "text/plain", "", "application/json; charset=x"])


def text(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """One event, an array, lines, or something else; then perhaps damaged."""
    events = draw(st.lists(EVENTS, min_size=1, max_size=4))
    body = draw(st.sampled_from([text(events[0]), text(events), b"\n".join(map(text, events)), text(draw(JSON))]))
    rng = random.Random(draw(st.integers(0, 2**32)))
    for _ in range(draw(st.sampled_from((0, 0, 1, 3)))):
        at = rng.randrange(len(body) + 1)
        body = (
            body[:at]
            + rng.choice((b"", b"{", b"[", b'"', b"\\", b"\xff", b"\0", b"9" * 30))
            + body[at + rng.randrange(3) :]
        )
    return draw(st.sampled_from([body, draw(st.binary(max_size=40))]))


@pytest.fixture(scope="module")
def url(kafka: EmbeddedKafka) -> Iterator[str]:
    with serving(kafka.bootstrap, [featureset(TOPIC)]) as found:
        wait_ready(found)
        yield found


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=20) as found:
        yield found


@FUZZ
@given(bodies(), KINDS)
def test_any_body(client: httpx.Client, body: bytes, kind: str) -> None:
    made("requests to ingest")
    answer = client.post("/ingest", content=body, headers={"content-type": kind} if kind else {})
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        assert answer.json()["error"]["message"]


@FUZZ
@given(
    st.sampled_from(["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "POST"]),
    st.text(max_size=8),
    st.binary(max_size=9),
)
def test_any_request(client: httpx.Client, method: str, path: str, body: bytes) -> None:
    target = "/" + quote(path.encode("utf-8", "replace"), safe="/")
    made("requests to ingest")
    assert client.request(method, target, content=body).status_code < 500


@FUZZ
@given(st.sampled_from(ROUTES), st.integers(0, 2**32))
def test_any_exchange(url: str, route: Route, seed: int) -> None:
    request = bend(route, random.Random(seed))
    note(repr(request.raw[:3000]))
    check(exchange(int(url.rpartition(":")[2]), request, "ingest"), request)


def test_what_was_taken_is_in_the_topic_and_accepted(kafka: EmbeddedKafka, client: httpx.Client) -> None:
    """Runs last: all that the tests above had answered 202 for decodes, and so many requests were made."""
    assert MADE["requests to ingest"] >= examples(800, 10_000)
    assert MADE["requests to ingest that were right"] >= examples(30, 500), "none of them came far"
    assert client.post("/ingest", json=GOOD).status_code == 202
    held = values(kafka.bootstrap, TOPIC)
    decoder = EventDecoder(featureset(TOPIC).definition)
    refused = decoder.judge([text(event) for event in held], time.time_ns() // 1_000_000).rejected
    assert held
    assert refused == []
