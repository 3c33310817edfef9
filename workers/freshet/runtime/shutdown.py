"""Stopping a service: SIGTERM and SIGINT become an event, and what follows shares one deadline."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType


class Stop(threading.Event):
    """Set by the first SIGTERM or SIGINT if it is made in the main thread; else only by `set()`.

    A second Ctrl-C ends the process at once, as an impatient user expects.
    """

    def __init__(self) -> None:
        super().__init__()
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._on_signal)
            signal.signal(signal.SIGINT, self._on_signal)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        self.set()


class Deadline:
    """A moment that several steps share: each gets what the ones before it left."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds until the deadline; 0 once it has passed."""
        return max(0.0, self._end - time.monotonic())
