"""How far the building of a partition's states is, and how long it will take: figures only, no clock."""

from __future__ import annotations

from collections import deque

_SPAN_MS = 30_000
"""The speed is that of the last half minute."""
_SAMPLE_MS = 500


class Rebuild:
    """States that come back from a checkpoint, then events that are read again, as one task."""

    def __init__(self) -> None:
        self._states = 0
        self._events = 0
        self._begin = 0
        self._states_done = 0
        self._samples: deque[tuple[int, float]] = deque()
        self.waits_for: str | None = "its turn"
        """Why nothing moves; None while it does."""

    def planned(self, states: int, begin: int, end: int) -> None:
        """So many states come back, then the events from `begin` until before `end`."""
        self._states, self._begin, self._events = states, begin, max(0, end - begin)
        self.waits_for = None

    def restored(self, states: int) -> None:
        """So many more states are back."""
        self._states_done += states

    def ratio(self, position: int | None = None) -> float:
        """Share that is done, 0 to 1; `position` is the next offset to be read, None while states come back."""
        whole = self._states + self._events
        if self.waits_for is not None or not whole:
            return 0.0 if self.waits_for is not None else 1.0
        read = 0 if position is None else min(max(0, position - self._begin), self._events)
        return (min(self._states_done, self._states) + read) / whole

    def eta_seconds(self, now_ms: int, ratio: float) -> float | None:
        """Seconds that are left at the present speed; None while it is not known. To be asked twice a second or so."""
        samples = self._samples
        if not samples or now_ms - samples[-1][0] >= _SAMPLE_MS:
            samples.append((now_ms, ratio))
        while len(samples) > 2 and now_ms - samples[0][0] > _SPAN_MS:
            samples.popleft()
        then, before = samples[0]
        if ratio <= before or now_ms <= then:
            return None
        return (1 - ratio) * (now_ms - then) / 1000 / (ratio - before)


def sentence(partition: int, ratio: float, eta_seconds: float | None, waits_for: str | None = None) -> str:
    """`rebuilding partition 3: 41 %, 2 min`."""
    if waits_for is not None:
        return f"rebuilding partition {partition}: waits for {waits_for}"
    left = "" if eta_seconds is None else f", {_duration(eta_seconds)}"
    return f"rebuilding partition {partition}: {int(100 * ratio)} %{left}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5_400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"
