"""The place where tests end the process between two writes, as a crash at the worst moment would."""

from __future__ import annotations

import os

VARIABLE = "FRESHET_TEST_CRASH_AT_WRITE"


class WriteCounter:
    """Counts writes; ends the process at one of them.

    `at`: "3" just before the third write of this process, "3+" just after it, "" never.
    """

    def __init__(self, at: str = "") -> None:
        self._after = at.endswith("+")
        self._at = int(at.rstrip("+")) if at else 0
        self.writes = 0
        """Begun so far."""

    def before(self) -> int:
        """A write is about to begin; returns its number, because others may begin before it is done."""
        self.writes += 1
        if self.writes == self._at and not self._after:
            os._exit(137)
        return self.writes

    def after(self, number: int) -> None:
        """The write of this number was done."""
        if number == self._at and self._after:
            os._exit(137)
