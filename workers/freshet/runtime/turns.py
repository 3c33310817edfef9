"""Whether a service's main loop goes round. A client library that does not return must not look like a quiet hour."""

from __future__ import annotations

import faulthandler

from freshet.runtime.clock import steady_ms

END_SECONDS = 180.0
"""No turn takes so long: whatever it waits for has an end after some seconds, and Kafka gives a member's partitions to
others after one minute without a poll."""
_STANDS_MS = 15_000
"""One answer of Kafka is waited for 11 s at most. A take-over that waits for several of a silent broker is told too."""
_PUT_OFF_MS = 1_000
"""Each time makes a thread."""


class Turns:
    """Of one loop. After `END_SECONDS` without a turn the process writes where each of its threads stands, and ends
    with code 1: who started it starts it again, and others have taken its partitions over by then."""

    def __init__(self, stands_ms: int = _STANDS_MS) -> None:
        """`stands_ms`: after so long without a turn it is told."""
        self._stands_ms = stands_ms
        self._turned_ms: int | None = None
        self._put_off_ms = -_PUT_OFF_MS

    def turn(self) -> None:
        """The loop is where it begins."""
        now = self._turned_ms = steady_ms()
        if now - self._put_off_ms >= _PUT_OFF_MS:
            self._put_off_ms = now
            faulthandler.dump_traceback_later(END_SECONDS, exit=True)

    def end(self) -> None:
        """The loop is left: nobody waits for its turns."""
        self._turned_ms = None
        faulthandler.cancel_dump_traceback_later()

    def problem(self) -> str | None:
        """What to tell, if it stands; may be called from any thread."""
        turned_ms = self._turned_ms
        waited_ms = 0 if turned_ms is None else steady_ms() - turned_ms
        return f"the main loop has stood for {waited_ms // 1_000} s" if waited_ms >= self._stands_ms else None
