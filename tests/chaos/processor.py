"""A real processor whose flushes are of many small scripts, and that may die like one killed with -9 between two of
them: `python -m tests.chaos.processor n` dies before the n-th script that is not the first of its flush (0: never)."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from functools import partial

from freshet.processor import service
from freshet.processor.partition import Limits
from freshet.processor.runner import Runner
from freshet.runtime import turns
from freshet.runtime.settings import ProcessorSettings
from freshet.stores.fence import Script

_KEYS_PER_SCRIPT = 2
"""Few entities are busy at once here; with 200 keys every flush would be one script."""


def main(n: int) -> None:
    """Runs until told to stop, or killed."""
    later = 0

    def send(self: Runner, scripts: Sequence[Script]) -> None:
        nonlocal later
        for i, script in enumerate(scripts):
            later += i > 0
            if i > 0 and later == n:
                os.kill(os.getpid(), signal.SIGKILL)
            self.owner.fence.send(script)

    Runner._send = send  # type: ignore[method-assign]
    setattr(service, "Limits", partial(Limits, keys_per_script=_KEYS_PER_SCRIPT))  # noqa: B010  # what mypy allows
    turns.END_SECONDS = 60.0  # sooner than a round gives up waiting, so that it is told where it stands
    service.run(ProcessorSettings.from_environment(os.environ))


if __name__ == "__main__":
    main(int(sys.argv[1]))
