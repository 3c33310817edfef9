"""What the administration's port answers to requests that are wrong, without anything behind it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from freshet.admin import http
from freshet.admin.http import AdminServer, app_of
from freshet.admin.installation import Installation
from freshet.runtime.live.state import ConfigState
from freshet.runtime.settings import KafkaSettings

TOKEN = "a-token-of-these-tests"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    nothing = Installation(KafkaSettings(bootstrap="127.0.0.1:1"), None, None, "default", "dead", lambda: ())
    server = AdminServer(app_of(nothing, TOKEN, lambda: ConfigState(None, (), "files", None)), "127.0.0.1", 0)
    yield server.port
    server.shutdown()


def answer(port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
    headers = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
    try:
        with urlopen(Request(f"http://127.0.0.1:{port}{path}", body, headers, method=method), timeout=10) as found:
            return found.status, json.load(found)
    except HTTPError as error:
        return error.code, json.load(error)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("GET", "/dead-letters/?limit=1", None, 404, "Not Found"),
        ("GET", "/dead-letters?topic=a%00", None, 422, "topic: has a NUL character"),
        ("GET", "/dead-letters/stats?reason=a&reason=%00", None, 422, "reason.1: has a NUL character"),
        ("POST", "/dead-letters:replay", b'{"featureset": "\\u0000"}', 422, "featureset: has a NUL character"),
        ("POST", "/dead-letters:discard", b'{"\\ud800": 1}', 422, "unable to parse raw data as a unicode"),
        ("POST", "/dead-letters:discard", b'{"topic": "\\ud800"}', 422, "topic: Input should be a valid string"),
        ("DELETE", "/entities/a%FF", None, 400, "the path is not percent-encoded UTF-8"),
        ("DELETE", "/entities/a%00", None, 409, "the entity's key holds a NUL character"),
        ("POST", "/dead-letters:replay", b"[" * 60_000, 400, "There was an error parsing the body"),
    ],
)
def test_what_is_wrong_is_said(port: int, method: str, path: str, body: bytes | None, status: int, said: str) -> None:
    code, found = answer(port, method, path, body)
    assert (code, said in found["error"]["message"]) == (status, True), found


def test_a_slow_body_is_cut_off(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen of them would else keep everybody out, and `/config` asks for no token."""
    monkeypatch.setattr(http, "BODY_SECONDS", 0.2)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(b"GET /config HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n{")
        assert client.recv(1000).startswith(b"HTTP/1.1 408")
        while client.recv(1000):
            pass
