"""How a body is cut into events, and what is added to each."""

from __future__ import annotations

import json

import pytest

from freshet.ingest.envelope import Envelope, received_at
from freshet.ingest.problems import Problem
from freshet.ingest.split import check_content_type, split

NOW = received_at(1_767_609_000_007)


@pytest.mark.parametrize(
    ("body", "lines", "events"),
    [
        (b'{"a":1}', False, [b'{"a":1}']),
        (b' \n{"a":\n1}\n', False, [b'{"a":\n1}']),
        (b'\xef\xbb\xbf{"a":1}', False, [b'{"a":1}']),
        (b'[{"a":1}, {"b": [2]}]', False, [b'{"a":1}', b'{"b": [2]}']),
        (b'{"a":1}\r\n\r\n{"b":2}', False, [b'{"a":1}', b'{"b":2}']),
        (b'{"a":1}\nbroken', False, [b'{"a":1}', b"broken"]),
        (b'{"a":x}\n{"b":2}', False, [b'{"a":x}', b'{"b":2}']),
        (b"broken\nmore", False, [b"broken\nmore"]),
        (b'{"a":\n{"b":2}}', False, [b'{"a":\n{"b":2}}']),
        (b"[1]\n[2]", True, [b"[1]", b"[2]"]),
        (b'{"a":\n{"b":2}}', True, [b'{"a":', b'{"b":2}}']),
    ],
)
def test_split(body: bytes, lines: bool, events: list[bytes]) -> None:
    assert split(body, lines) == events


def test_content_types() -> None:
    assert check_content_type("Application/X-NDJSON; charset=utf-8")
    assert not check_content_type("application/json; charset=utf-8")
    with pytest.raises(Problem):
        check_content_type("multipart/form-data; boundary=x")


def complete(event: bytes, *names: str) -> tuple[bytes, str | None]:
    return Envelope(names or ("event_id",)).complete(event, NOW, 1000)


def test_what_is_missing_is_spliced_in() -> None:
    value, event_id = complete(b'{ "a": 1.50, "a\\u0062": "\\u00e4" } ')
    head = b'{ "a": 1.50, "a\\u0062": "\\u00e4"'
    assert event_id is not None
    assert value == head + b',"event_id":"' + event_id.encode() + b'","received_at":"2026-01-05T10:30:00.007Z"}'


@pytest.mark.parametrize("absent", ["null", '""'])
def test_an_empty_id_is_replaced_and_the_rest_stays(absent: str) -> None:
    value, event_id = complete(b'{"n":1.50,"event_id":' + absent.encode() + b',"big":123456789012345678901234567890}')
    assert json.loads(value)["event_id"] == event_id
    assert value.count(b"event_id") == 1
    assert b'"n":1.50' in value
    assert b"123456789012345678901234567890" in value


def test_what_the_client_sent_stays() -> None:
    event = b'{"event_id":17,"received_at":"then"}'
    assert complete(event) == (event, "17")
    assert complete(b'{"event_id":"e","received_at":1}')[1] == "e"
    assert json.loads(complete(b"{}", "id", "other")[0]).keys() == {"id", "other", "received_at"}


@pytest.mark.parametrize("event", [b"", b"5", b"{", b"[1]", b'{"\xff":1}', b'{"a":"' + b"x" * 1000 + b'"}'])
def test_what_is_no_event_stays_as_it_is(event: bytes) -> None:
    assert complete(event) == (event, None)
