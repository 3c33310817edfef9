"""Durations as manifests write them: a whole number and one unit, `30s`, `24h`, `7d`."""

from __future__ import annotations

import re

UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}

_DURATION = re.compile(r"(0|[1-9][0-9]{0,9})(ms|s|m|h|d)", re.ASCII)


def parse_duration(text: str) -> int:
    """Milliseconds of `text`. Raises ValueError with a sentence for anything but a number and a unit."""
    found = _DURATION.fullmatch(text)
    if not found:
        raise ValueError("must be a whole number and one of the units ms, s, m, h, d, for example 30s or 24h")
    return int(found[1]) * UNITS_MS[found[2]]


def duration_text(ms: int) -> str:
    """The shortest way to write `ms`: 3600000 is `1h`."""
    for unit in ("d", "h", "m", "s"):
        if ms and ms % UNITS_MS[unit] == 0:
            return f"{ms // UNITS_MS[unit]}{unit}"
    return f"{ms}ms" if ms else "0s"
