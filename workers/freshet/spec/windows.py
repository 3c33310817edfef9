"""Windows and their hops (design §5): how exact the oldest edge of a window is, and what tiles it needs."""

from __future__ import annotations

from collections.abc import Iterable

from freshet.spec.definition import Window
from freshet.spec.durations import parse_duration

LIFETIME = "lifetime"
"""What a manifest's `windows` calls the time since the entity's first event."""

HOPS = {text: parse_duration(text) for text in ("1s", "5s", "15s", "1m", "5m", "15m", "1h", "3h", "6h", "12h", "1d")}
"""Each divides the next, so one pyramid of tiles serves every window."""

SHORTEST_MS = parse_duration("1m")
"""Below it no hop is small enough to leave the oldest edge within 1/60 of the length."""

LONGEST_MS = parse_duration("90d")
"""Online state is for recent behaviour; longer spans are lifetime features or history."""

MOST_TILES = 3_600
"""Tiles that one window may need, which `granularity` could otherwise raise without bound: 1h at 1s."""


def hop_ms(length_ms: int) -> int:
    """The largest hop that is at most 1/60 of the window."""
    return max(hop for hop in HOPS.values() if hop * 60 <= length_ms)


def parse_window(text: str, granularity: str | None) -> Window:
    """The window that a manifest calls `text`. Raises ValueError with a sentence that says what is allowed."""
    length = parse_duration(text)
    if not SHORTEST_MS <= length <= LONGEST_MS:
        raise ValueError("a window must be from 1m to 90d long")
    if length % 1000:
        raise ValueError("a window must be whole seconds long")
    if granularity is None:
        return Window(length, hop_ms(length), text)
    hop = HOPS[granularity]
    if hop > length:
        raise ValueError(f"granularity {granularity} is longer than the window {text}")
    if length > hop * MOST_TILES:
        raise ValueError(
            f"granularity {granularity} would cut {text} into {length // hop} tiles; at most {MOST_TILES} are allowed"
        )
    return Window(length, hop, text)


def most_tiles(windows: Iterable[Window]) -> int:
    """How many tiles one entity can hold: for each hop, as many as its longest window spans, and its two edges."""
    longest: dict[int, int] = {}
    for window in windows:
        longest[window.hop_ms] = max(longest.get(window.hop_ms, 0), window.length_ms)
    return sum(-(-length // hop) + 2 for hop, length in longest.items())
