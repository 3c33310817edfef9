"""The time of day, where services read it; everything below takes it as an argument."""

from __future__ import annotations

import time


def now_ms() -> int:
    """The wall clock, in ms since 1970."""
    return time.time_ns() // 1_000_000


def steady_ms() -> int:
    """A clock that nobody sets, in ms since some moment: for waits, which would else last as long as a step back."""
    return time.monotonic_ns() // 1_000_000
