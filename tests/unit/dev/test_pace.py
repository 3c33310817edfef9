"""How a stream of events is cut into requests."""

from __future__ import annotations

import time

from freshet.dev.pace import at_full_speed, at_rate, on_time
from freshet.dev.sender import Row


def rows(count: int, size: int = 10) -> list[Row]:
    return [Row(number, b"x" * size) for number in range(1, count + 1)]


def test_full_speed_makes_large_requests() -> None:
    parts = list(at_full_speed(rows(1201)))
    assert [len(part) for part in parts] == [500, 500, 201]
    assert [row for part in parts for row in part] == rows(1201)
    assert list(at_full_speed([])) == []


def test_requests_stay_below_what_ingest_takes() -> None:
    parts = list(at_full_speed(rows(9, size=1 << 20)))
    assert [len(part) for part in parts] == [4, 4, 1]


def test_one_huge_event_is_a_request() -> None:
    assert [len(part) for part in at_full_speed(rows(2, size=9 << 20))] == [1, 1]


def test_a_rate_is_kept() -> None:
    began = time.monotonic()
    parts = list(at_rate(rows(200), 400))
    assert 0.4 < time.monotonic() - began < 1.5
    assert sum(map(len, parts)) == 200
    assert len(parts) > 5


def test_what_is_overdue_goes_in_large_requests() -> None:
    parts = list(on_time((-1.0, row) for row in rows(1200)))
    assert [len(part) for part in parts] == [500, 500, 200]
