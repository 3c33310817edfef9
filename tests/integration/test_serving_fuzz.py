"""No request gets a 500: random paths, queries, methods and bodies against a real server."""

from __future__ import annotations

import json
import random
import socket
import time
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from freshet.dev.servers import EmbeddedValkey
from tests.fuzzing import MADE, examples, made
from tests.integration.http_fuzz import Route, bend, check, exchange
from tests.integration.serving import Serving, owners, serving
from tests.unit.serving.build import ACTIVITY, ORDERS

pytestmark = pytest.mark.server

METHODS = st.sampled_from(["GET", "GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
PIECES = st.sampled_from(
    [
        "/",
        "features",
        "features:batch",
        "featuresets",
        "get-online-features",
        "user",
        "%2F",
        "%00",
        "%ff",
        "%",
        "+",
        ".",
    ]
) | st.text(st.characters(codec="latin-1", exclude_characters=" \r\n\t\x00#?"), max_size=5)
QUERIES = st.lists(
    st.sampled_from(["features=", "featureset=", "version=", "bounds=", "entity=", "&", "=", "%ff", "share", ",", "v2"])
    | st.text(st.characters(codec="ascii", exclude_characters=" \r\n\t\x00#"), max_size=5),
    max_size=6,
).map("".join)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FIELDS = st.sampled_from(["entities", "features", "format", "bounds", "featureset", "feature_service"])
BODIES = st.binary(max_size=50) | st.dictionaries(FIELDS, VALUES).map(lambda body: json.dumps(body).encode())
FEATURES = ["activity_count_1h", "share", "level", "user-orders.activity_count_24h"]
REFERENCES = ["user-activity:level", "user-activity@v2:share", "user-orders:order_count_24h"]
QUERY = [("features", "share,level"), ("featureset", "user-activity"), ("version", "v2"), ("bounds", "true")]
BATCH = {"entities": ["user_alice", "user_bob", 7], "features": FEATURES, "format": "columns", "bounds": True}
FEAST = {"entities": {"user_id": ["user_alice", 7]}, "full_feature_names": True}
VERSIONS = {"include_feature_view_version_metadata": True}
ROUTES = (
    Route("GET", "/features/user_alice", [*QUERY, ("entity", "user")]),
    Route("GET", "/features/user_bob/share", [("featureset", "user-activity"), ("bounds", "1")]),
    Route("POST", "/features:batch", body=BATCH),
    Route("POST", "/features:batch", body={"entities": ["user_alice"], "featureset": "user-activity", "version": "v2"}),
    Route("POST", "/get-online-features", body=FEAST | {"features": REFERENCES} | VERSIONS),
    Route("POST", "/get-online-features", body=FEAST | {"feature_service": "user-activity"}),
    Route("GET", "/featuresets/user-activity"),
    Route("GET", "/featuresets"),
    Route("GET", "/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"}),
    Route("GET", "/ready"),
)
PORT_8082 = (Route("GET", "/metrics", headers={"accept": "*/*"}), Route("GET", "/ready"), Route("GET", "/health"))
FUZZ = settings(max_examples=examples(400, 5_000), deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def server(valkey: EmbeddedValkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("manifests")
    with serving(valkey.url, folder, "serving-fuzz", ACTIVITY, ORDERS) as found:
        everyone, client = owners(found)
        now = time.time_ns() // 1_000_000
        for owner in everyone:
            owner.take_over()
            owner.write([{"event_id": "e", "user_id": "user_alice", "event_type": "view", "timestamp": now}], now)
        client.close()
        yield found


def status(server: Serving, request: bytes) -> int:
    """The status of one request over a connection of its own, as raw as it is."""
    made("requests to serving")
    with socket.create_connection(("127.0.0.1", server.settings.port), timeout=20) as connection:
        connection.sendall(request)
        answer = connection.makefile("rb").readline()
    return int(answer.split()[1])


@FUZZ
@given(METHODS, st.lists(PIECES, max_size=6).map("".join), QUERIES, BODIES)
def test_any_request(server: Serving, method: str, path: str, query: str, body: bytes) -> None:
    target = f"/{path}?{query}".encode("latin-1")
    head = b"%b %b HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
    assert status(server, head % (method.encode(), target, len(body)) + body) < 500


@FUZZ
@given(st.sampled_from(["/features:batch", "/get-online-features"]), BODIES)
def test_any_body(server: Serving, path: str, body: bytes) -> None:
    head = b"POST %b HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
    assert status(server, head % (path.encode(), len(body)) + body) < 500


@FUZZ
@given(st.sampled_from(ROUTES), st.integers(0, 2**32))
def test_any_exchange(server: Serving, route: Route, seed: int) -> None:
    request = bend(route, random.Random(seed))
    note(repr(request.raw[:3000]))
    check(exchange(server.settings.port, request, "serving"), request)


@settings(FUZZ, max_examples=examples(100, 1_000))
@given(st.sampled_from(PORT_8082), st.integers(0, 2**32))
def test_any_exchange_with_the_metrics_port(server: Serving, route: Route, seed: int) -> None:
    request = bend(route, random.Random(seed))
    note(repr(request.raw[:3000]))
    answer = exchange(server.settings.metrics_port, request, "a metrics port")
    assert answer is None or answer.status < 500 or answer.status == 501, answer  # 501: it knows GET alone


def test_a_body_that_stays_away_harms_nobody(server: Serving) -> None:
    with socket.create_connection(("127.0.0.1", server.settings.port)) as connection:
        connection.sendall(b"POST /features:batch HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
    time.sleep(0.1)
    assert server.get("/features/a")[0] == 200


def test_this_is_as_much_as_is_promised(server: Serving) -> None:
    """Runs last: so many requests were made, and the server that had them answers as before."""
    assert MADE["requests to serving"] >= examples(1_000, 10_000)
    assert MADE["requests to serving that were right"] >= examples(30, 500), "none of them came far"
    status, found = server.get("/features/user_alice/activity_count_1h")
    assert (status, found["value"]) == (200, 1)
