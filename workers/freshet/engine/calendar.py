"""Parts of timestamps in a time zone, by whole columns: extract() of DuckDB.

A zone's offsets are put into a table once, from the standard library's rules, so that a column is one binary search.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np

from freshet.engine.column import Floats, Ints

_SECOND, _MINUTE, _HOUR, _DAY = 1_000, 60_000, 3_600_000, 86_400_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_DAY = (datetime(2101, 1, 1, tzinfo=UTC) - _EPOCH).days
"""Timestamps lie in the years 1970 to 2100."""
_STEP_DAYS = 7
"""No zone goes to another offset and back within less."""


def part_of(part: str, ms: Floats, timezone: str) -> Floats:
    """A part of timestamps (ms since 1970): `year` … `second`, `dow` (0 is Sunday), `isodow`, `doy`, `week`, `epoch`.

    Raises ValueError for another part.
    """
    if part == "epoch":
        return ms / 1000
    utc = np.floor(ms).astype(np.int64)
    out: Floats = np.asarray(_part(part, utc + offset_ms(utc, timezone)), np.float64)
    return out


def difference(part: str, begin: Floats, end: Floats, timezone: str) -> Floats:
    """How many beginnings of the part lie between two columns of timestamps: date_diff() of DuckDB.

    Of weeks it is the whole sevenths of the days. Raises ValueError for an unknown part.
    """
    counts = []
    for moments in (begin, end):
        utc = np.floor(moments).astype(np.int64)
        counts.append(_count("day" if part == "week" else part, utc + offset_ms(utc, timezone)))
    out: Floats = np.asarray(counts[1] - counts[0], np.float64)
    return np.trunc(out / 7) if part == "week" else out


def _count(part: str, local: Ints) -> Ints:
    """How many of the part have begun since 1970 did."""
    if part in _LENGTHS:
        return local // _LENGTHS[part]
    months: Ints = (local // _DAY).astype("M8[D]").astype("M8[M]").astype(np.int64)
    if part not in _MONTHS:
        raise ValueError(f"date_diff: there is no part {part!r}")
    return months // _MONTHS[part]


def offset_ms(utc_ms: Ints, timezone: str) -> Ints | int:
    """What the zone's wall clock is ahead of UTC at each moment."""
    starts, offsets = _changes(timezone)
    if len(starts) == 1:
        return int(offsets[0])
    out: Ints = offsets[np.maximum(np.searchsorted(starts, utc_ms, "right") - 1, 0)]
    return out


@lru_cache(maxsize=64)
def _changes(timezone: str) -> tuple[Ints, Ints]:
    """Moments (UTC, ms) from which the zone has another offset, and these offsets (ms)."""
    zone = ZoneInfo(timezone)

    def offset(second: int) -> int:
        ahead = (_EPOCH + timedelta(seconds=second)).astimezone(zone).utcoffset()
        return 0 if ahead is None else int(ahead.total_seconds() * 1000)

    starts, offsets = [0], [offset(0)]
    step = _STEP_DAYS * 86_400
    for week in range(step, _LAST_DAY * 86_400, step):
        if offset(week) == offsets[-1]:
            continue
        before, after = week - step, week
        while after - before > 1:
            middle = (before + after) // 2
            before, after = (middle, after) if offset(middle) == offsets[-1] else (before, middle)
        starts.append(after * 1000)
        offsets.append(offset(after))
    return np.array(starts, np.int64), np.array(offsets, np.int64)


def _part(part: str, local: Ints) -> Ints:
    days = local // _DAY
    if part in _OF_DAY:
        unit, count = _OF_DAY[part]
        clock: Ints = (local - days * _DAY) // unit % count
        return clock
    isodow = (days + 3) % 7 + 1
    if part == "isodow":
        return isodow
    if part == "dow":
        return isodow % 7
    if part == "week":
        thursday = days - isodow + 4
        return (thursday - _year_start(thursday)) // 7 + 1
    if part == "doy":
        return days - _year_start(days) + 1
    months: Ints = days.astype("M8[D]").astype("M8[M]").astype(np.int64)
    if part == "day":
        first: Ints = months.astype("M8[M]").astype("M8[D]").astype(np.int64)
        return days - first + 1
    if part not in _OF_MONTH:
        raise ValueError(f"extract: there is no part {part!r}")
    return _OF_MONTH[part](months)


def _year_start(days: Ints) -> Ints:
    """The first day of the year that each day is in."""
    out: Ints = days.astype("M8[D]").astype("M8[Y]").astype("M8[D]").astype(np.int64)
    return out


_LENGTHS = {"second": _SECOND, "minute": _MINUTE, "hour": _HOUR, "day": _DAY}
_MONTHS = {"month": 1, "quarter": 3, "year": 12}
_OF_MONTH: dict[str, Callable[[Ints], Ints]] = {
    "year": lambda months: months // 12 + 1970,
    "quarter": lambda months: months % 12 // 3 + 1,
    "month": lambda months: months % 12 + 1,
}
_OF_DAY = {"hour": (_HOUR, 24), "minute": (_MINUTE, 60), "second": (_SECOND, 60)}
