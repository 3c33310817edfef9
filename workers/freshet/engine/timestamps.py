"""RFC 3339 texts to whole epoch milliseconds: one by one, and many at once.

Python's own parsers round to microseconds, so that `…59.9999999Z` would become the next second; here every
fraction is floored. `epoch_ms` is the rule; `many_epoch_ms` reads the usual shapes as a matrix of characters
and leaves all others to it.
"""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import date
from functools import cache

import numpy as np
from numpy.typing import NDArray

from freshet.engine.column import Bools, Ints

END_MS = 4_133_980_800_000
"""2101-01-01T00:00:00Z: the first millisecond that is not allowed. The first allowed one is 0 (1970)."""

_FIRST_YEAR, _LAST_YEAR = 1969, 2101  # one more on each side: a zone may carry the local date over the edge
_VECTOR_MIN = 24  # below this the fixed cost of the matrix is higher than parsing one by one

_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:([Zz])|([+-])(\d\d):(\d\d))?", re.ASCII
)


def _months() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    pairs = [(year, month) for year in range(_FIRST_YEAR, _LAST_YEAR + 1) for month in range(1, 13)]
    epoch = date(1970, 1, 1).toordinal()
    starts = np.array([date(year, month, 1).toordinal() - epoch for year, month in pairs], np.int64)
    return starts, np.array([monthrange(year, month)[1] for year, month in pairs], np.int64)


_MONTH_START, _MONTH_DAYS = _months()


def epoch_ms(text: str) -> int:
    """Milliseconds since 1970 of an RFC 3339 time with zone; fractions are floored.

    Raises ValueError with a phrase that says what is wrong, without the text itself.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        hint = "digits only" if text.isascii() and text.isdigit() else f"text of {len(text)} characters"
        raise ValueError(f"{hint} that is not an RFC 3339 time")
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    fraction, zulu, sign, zone_hours, zone_minutes = match.groups()[6:]
    if zulu is None and sign is None:
        raise ValueError("a time without a zone")
    if not _FIRST_YEAR <= year <= _LAST_YEAR:
        raise ValueError("a time outside the years 1970 to 2100")
    place = (year - _FIRST_YEAR) * 12 + month - 1
    if not (1 <= month <= 12 and 1 <= day <= _MONTH_DAYS[place] and hour < 24 and minute < 60 and second < 60):
        raise ValueError("a time that no calendar or clock has")
    ms = ((int(_MONTH_START[place]) + day - 1) * 1440 + hour * 60 + minute) * 60_000 + second * 1000
    ms += int(((fraction or "") + "000")[:3])
    if sign is not None:
        if int(zone_hours) > 23 or int(zone_minutes) > 59:
            raise ValueError("a time whose zone is not between -23:59 and +23:59")
        shift = (int(zone_hours) * 60 + int(zone_minutes)) * 60_000
        ms -= shift if sign == "+" else -shift
    if not 0 <= ms < END_MS:
        raise ValueError("a time outside the years 1970 to 2100")
    return ms


def many_epoch_ms(texts: list[str]) -> Ints:
    """`epoch_ms` of each text; -1 where that raises."""
    count = len(texts)
    if count < _VECTOR_MIN:
        return np.fromiter(map(_or_minus_one, texts), np.int64, count)
    lengths = np.fromiter(map(len, texts), np.int64, count)
    first = int(lengths[0])
    if bool((lengths == first).all()):
        return _same_length(texts, first)
    result = np.empty(count, np.int64)
    for length in np.unique(lengths).tolist():
        where = np.flatnonzero(lengths == length)
        result[where] = _same_length([texts[i] for i in where.tolist()], length)
    return result


def _or_minus_one(text: str) -> int:
    try:
        return epoch_ms(text)
    except ValueError:
        return -1


def _same_length(texts: list[str], length: int) -> Ints:
    shape = _shape(length, texts[0][-1:] in ("Z", "z"))
    if shape is None or len(texts) < _VECTOR_MIN:
        return np.fromiter(map(_or_minus_one, texts), np.int64, len(texts))
    flat = np.frombuffer("".join(texts).encode("ascii", "replace"), np.uint8)
    ms, good = _read(np.ascontiguousarray(flat.reshape(-1, length).T), *shape)
    if not good.all():
        for i in np.flatnonzero(~good).tolist():
            ms[i] = _or_minus_one(texts[i])
    return ms


@cache
def _shape(length: int, zulu: bool) -> tuple[int, bool] | None:
    """(digits of the fraction, whether it ends with Z); None: no usual shape has this length."""
    fraction = length - (20 if zulu else 25)
    if fraction == 0:
        return 0, zulu
    return (fraction - 1, zulu) if 2 <= fraction <= 10 else None


def _read(text: NDArray[np.uint8], fraction: int, zulu: bool) -> tuple[Ints, Bools]:
    """Milliseconds and whether they may be trusted; row i of `text` is the i-th character of every time."""
    digit = text - np.uint8(48)  # wraps around below '0', so that one comparison finds every non-digit
    zone = 19 + (fraction + 1 if fraction else 0)
    places = [0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18, *range(20, 20 + fraction)]
    good: Bools = np.asarray(np.all(digit[places] <= 9, axis=0), np.bool_)
    good &= (text[4] == 45) & (text[7] == 45) & (text[13] == 58) & (text[16] == 58)
    good &= (text[10] == 84) | (text[10] == 116) | (text[10] == 32)
    if fraction:
        good &= text[19] == 46
    wide = digit.astype(np.int64)
    year = wide[0] * 1000 + wide[1] * 100 + wide[2] * 10 + wide[3]
    month, day, hour, minute, second = (wide[i] * 10 + wide[i + 1] for i in (5, 8, 11, 14, 17))
    good &= (year >= _FIRST_YEAR) & (year <= _LAST_YEAR) & (month >= 1) & (month <= 12)
    place = np.where(good, (year - _FIRST_YEAR) * 12 + month - 1, 0)
    good &= (day >= 1) & (day <= _MONTH_DAYS[place]) & (hour < 24) & (minute < 60) & (second < 60)
    ms: Ints = ((_MONTH_START[place] + day - 1) * 1440 + hour * 60 + minute) * 60_000 + second * 1000
    for i in range(min(fraction, 3)):
        ms += wide[20 + i] * 10 ** (2 - i)
    if zulu:
        good &= (text[zone] == 90) | (text[zone] == 122)
    else:
        good &= _shift(text, wide, zone, ms)
    good &= (ms >= 0) & (ms < END_MS)
    return ms, good


def _shift(text: NDArray[np.uint8], wide: Ints, zone: int, ms: Ints) -> Bools:
    """Take `±hh:mm` off `ms` in place; whether it is well-formed."""
    places = [zone + 1, zone + 2, zone + 4, zone + 5]
    hours, minutes = (wide[i] * 10 + wide[i + 1] for i in (zone + 1, zone + 4))
    plus, minus = text[zone] == 43, text[zone] == 45
    good: Bools = np.asarray(np.all(wide[places] <= 9, axis=0), np.bool_)
    good &= (plus | minus) & (text[zone + 3] == 58)
    good &= (hours <= 23) & (minutes <= 59)
    ms -= np.where(plus, 1, -1) * (hours * 60 + minutes) * 60_000
    return good
