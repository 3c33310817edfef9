"""The time that a run has, shared by everything that waits."""

from __future__ import annotations

import time

from freshet.smoke.report import ProbeFailed


class Deadline:
    """Ends so many seconds after it was made."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds; at least 0."""
        return max(0.0, self._end - time.monotonic())

    def at_most(self, seconds: float) -> float:
        """How long one step may wait. Raises ProbeFailed when the time is over."""
        if self.left <= 0.05:
            sentence = f"not checked: the {self.seconds:g} s of this run were over before"
            raise ProbeFailed(sentence, "see what took long above, or give more time with --timeout")
        return min(seconds, self.left)
