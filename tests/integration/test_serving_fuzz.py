"""No request gets a 500: random paths, queries, methods and bodies against a real server."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from freshet.dev.servers import EmbeddedValkey
from tests.fuzzing import examples
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
FUZZ = settings(max_examples=examples(400, 10_000), deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def server(valkey: EmbeddedValkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("manifests")
    with serving(valkey.url, folder, "serving-fuzz", ACTIVITY, ORDERS) as found:
        everyone, client = owners(found)
        for owner in everyone:
            owner.take_over()
        client.close()
        yield found


def status(server: Serving, request: bytes) -> int:
    """The status of one request over a connection of its own, as raw as it is."""
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


def test_a_body_that_stays_away_harms_nobody(server: Serving) -> None:
    with socket.create_connection(("127.0.0.1", server.settings.port)) as connection:
        connection.sendall(b"POST /features:batch HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
    time.sleep(0.1)
    assert server.get("/features/a")[0] == 200
