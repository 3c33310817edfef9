"""Parts of timestamps in a time zone, by whole columns: extract() of DuckDB."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from freshet.engine.column import Floats, Ints

_SECOND, _MINUTE, _HOUR, _DAY = 1_000, 60_000, 3_600_000, 86_400_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def part_of(part: str, ms: Floats, timezone: str) -> Floats:
    """A part of timestamps (ms since 1970): `year` … `second`, `dow` (0 is Sunday), `isodow`, `doy`, `week`, `epoch`.

    Raises ValueError for another part.
    """
    if part == "epoch":
        return ms / 1000
    local = _local(np.asarray(ms).astype(np.int64), timezone)
    out: Floats = np.asarray(_part(part, local), np.float64)
    return out


def _local(ms: Ints, timezone: str) -> Ints:
    """The wall clock of a zone, as if it were UTC."""
    if timezone == "UTC":
        return ms
    zone = ZoneInfo(timezone)
    distinct, inverse = np.unique(ms, return_inverse=True)
    offsets = [_offset_ms(at, zone) for at in distinct.tolist()]
    out: Ints = ms + np.array(offsets, np.int64)[inverse].reshape(ms.shape)
    return out


def _offset_ms(at: int, zone: ZoneInfo) -> int:
    offset = (_EPOCH + timedelta(milliseconds=at)).astimezone(zone).utcoffset()
    return 0 if offset is None else int(offset.total_seconds() * 1000)


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


_OF_MONTH: dict[str, Callable[[Ints], Ints]] = {
    "year": lambda months: months // 12 + 1970,
    "quarter": lambda months: months % 12 // 3 + 1,
    "month": lambda months: months % 12 + 1,
}
_OF_DAY = {"hour": (_HOUR, 24), "minute": (_MINUTE, 60), "second": (_SECOND, 60)}
