"""Foreign rows become events with the names, ids and times that a manifest wants."""

from __future__ import annotations

from datetime import UTC
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from freshet.dev.reshape import Reshape, parse_time


def reshaped(row: dict[str, Any], **options: Any) -> dict[str, Any]:
    (made,) = Reshape("log.csv", **options).rows([msgspec.json.encode(row)])
    event: dict[str, Any] = msgspec.json.decode(made.body)
    return event


def test_names_are_moved_and_nested() -> None:
    event = reshaped(
        {"UserId": 42, "City": "Lima", "other": 1, "event_id": "e"}, names={"user_id": "UserId", "geo.city": "City"}
    )
    assert event == {"other": 1, "event_id": "e", "user_id": 42, "geo": {"city": "Lima"}}


def test_constants_win() -> None:
    assert reshaped({"event_id": "e", "kind": "a"}, constants={"kind": "b", "n": 1}) == {
        "event_id": "e", "kind": "b", "n": 1,
    }  # fmt: skip


def test_an_absent_id_is_made_of_file_and_row() -> None:
    rows = list(Reshape("log.csv").rows([b'{"a": 1}', b'{"event_id": "own"}', b'{"event_id": null}']))
    assert [msgspec.json.decode(row.body)["event_id"] for row in rows] == ["log.csv:1", "own", "log.csv:3"]
    assert [row.number for row in rows] == [1, 2, 3]


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("2026-01-05 10:30:00", "2026-01-05T09:30:00.000Z"),
        ("2026-07-05T10:30:00.123456", "2026-07-05T08:30:00.123Z"),
        ("2026-01-05", "2026-01-04T23:00:00.000Z"),
        ("2026-01-05 10:30:00+00", "2026-01-05T10:30:00.000Z"),
        ("2026-01-05T10:30:00-05:00", "2026-01-05T15:30:00.000Z"),
        (1767609000123, "2026-01-05T10:30:00.123Z"),
        ("yesterday", "yesterday"),
        (True, True),
    ],
)
def test_times_get_the_zone_that_they_lack(given: Any, sent: Any) -> None:
    zone = ZoneInfo("Europe/Berlin")
    assert reshaped({"event_id": "e", "timestamp": given}, zone=zone)["timestamp"] == sent


def test_shifting_moves_the_newest_to_now() -> None:
    rows = [b'{"at": "2020-01-01T00:00:00Z"}', b"not json", b'{"at": "2020-01-01T01:00:00Z"}', b'{"at": "?"}']
    plan = Reshape("f", names={"timestamp": "at"})
    newest = plan.newest(rows)
    assert newest == parse_time("2020-01-01T01:00:00Z", UTC)
    shifted = list(Reshape("f", names={"timestamp": "at"}, shift_seconds=86_400).rows(rows))
    assert msgspec.json.decode(shifted[0].body)["timestamp"] == "2020-01-02T00:00:00.000Z"


def test_what_is_no_object_stays_as_it_is() -> None:
    rows = [b"{broken", b"[1]", b"7"]
    assert [row.body for row in Reshape("f").rows(rows)] == rows
    assert Reshape("f").newest(rows) is None


def test_a_nested_target_never_replaces_a_plain_value() -> None:
    event = reshaped({"geo": "here", "City": "Lima", "event_id": "e"}, names={"geo.city": "City"})
    assert event["geo"] == "here"
