"""Cutting a stream of events into requests: by size at full speed, by the clock when events have their time."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from freshet.dev.sender import Row

_MOST_EVENTS = 500
_MOST_BYTES = 4 << 20
"""Of one request: well below what ingest takes."""
_TICK_SECONDS = 0.02
"""Events due within it share a request."""


def at_full_speed(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Requests as large as makes sense."""
    part: list[Row] = []
    size = 0
    for row in rows:
        if part and (len(part) == _MOST_EVENTS or size + len(row.body) > _MOST_BYTES):
            yield part
            part, size = [], 0
        part.append(row)
        size += len(row.body)
    if part:
        yield part


def at_rate(rows: Iterable[Row], rate: float) -> Iterator[list[Row]]:
    """Requests that together send `rate` events a second."""
    return on_time((index / rate, row) for index, row in enumerate(rows))


def on_time(timed: Iterable[tuple[float, Row]]) -> Iterator[list[Row]]:
    """Requests at the moments (seconds from now on, ascending) that the events carry; late ones follow at once."""
    began = time.monotonic()
    part: list[Row] = []
    until = _TICK_SECONDS
    for at, row in timed:
        if part and (at > until or len(part) == _MOST_EVENTS):
            yield part
            part = []
        if not part:
            time.sleep(max(0.0, began + at - time.monotonic()))
            until = max(at, time.monotonic() - began) + _TICK_SECONDS
        part.append(row)
    if part:
        yield part
