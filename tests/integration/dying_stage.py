"""A stage that kills itself where it hurts most: after the copies were sent, before or after their transaction ended.

python -m tests.integration.dying_stage {before|offsets|after} N [SIGSTOP: goes to sleep there instead; STAND: for ever]
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from freshet.cli import main
from freshet.rekey.writer import Writer
from freshet.runtime import turns


def _install(where: str, number: int, how: str = "SIGKILL") -> None:
    """`before`: the copies are sent, their offsets are not; `offsets`: these too; `after`: all is committed."""

    def _die() -> None:
        if how != "STAND":
            os.kill(os.getpid(), signal.Signals[how])
            return
        while True:
            time.sleep(1)

    commit, call = Writer.commit, Writer._call
    seen = {"commits": 0, "calls": 0}

    def dying_commit(self: Writer, *args: Any, **more: Any) -> None:
        seen["commits"] += 1
        seen["calls"] = 0
        if where == "before" and seen["commits"] == number:
            assert self._producer is not None
            self._producer.flush(10)
            _die()
        commit(self, *args, **more)
        if where == "after" and seen["commits"] == number:
            _die()

    def dying_call(step: Callable[[float], object], deadline: Any) -> None:
        seen["calls"] += 1
        if where == "offsets" and seen["commits"] == number and seen["calls"] == 2:
            _die()
        call(step, deadline)

    # Sooner than a test gives up waiting, so that it is told where the stage stands.
    turns.END_SECONDS = 15.0 if how == "STAND" else 60.0
    Writer.commit = dying_commit  # type: ignore[method-assign]
    Writer._call = staticmethod(dying_call)  # type: ignore[method-assign]


if __name__ == "__main__":
    _install(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
    sys.argv = ["freshet", "rekey"]
    main()
