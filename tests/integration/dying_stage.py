"""A stage that kills itself where it hurts most: after the copies were sent, before or after their transaction ended.

python -m tests.integration.dying_stage {before|offsets|after} N [SIGSTOP: goes to sleep there instead]
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from freshet.cli import main
from freshet.rekey.writer import Writer


def _install(where: str, number: int, how: signal.Signals = signal.SIGKILL) -> None:
    """`before`: the copies are sent, their offsets are not; `offsets`: these too; `after`: all is committed."""

    def _die() -> None:
        os.kill(os.getpid(), how)

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

    Writer.commit = dying_commit  # type: ignore[method-assign]
    Writer._call = staticmethod(dying_call)  # type: ignore[method-assign]


if __name__ == "__main__":
    _install(sys.argv[1], int(sys.argv[2]), signal.Signals[sys.argv[3]] if len(sys.argv) > 3 else signal.SIGKILL)
    sys.argv = ["freshet", "rekey"]
    main()
