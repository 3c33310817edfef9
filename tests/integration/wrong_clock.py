"""A real processor or recorder whose clock is off: `python -m … seconds service`; SIGUSR1 steps it to the other side of
the true time.

What is shifted is the clock of all Python code, which is where a service asks for the time of day.
"""

from __future__ import annotations

import os
import signal
import sys
import time

_true_ns = time.time_ns
_off_ns = 0


def shift(seconds: float) -> None:
    """Makes `time.time_ns` and `time.time` of this process wrong by so much."""
    global _off_ns
    _off_ns = int(seconds * 1e9)
    time.time_ns = lambda: _true_ns() + _off_ns
    time.time = lambda: time.time_ns() / 1e9


def main(seconds: float, name: str) -> None:
    """Runs until killed."""
    shift(seconds)
    signal.signal(signal.SIGUSR1, lambda *_: shift(-_off_ns / 1e9))
    from freshet.processor import service as processor
    from freshet.recorder import service as recorder
    from freshet.runtime.settings import ProcessorSettings, RecorderSettings

    if name == "processor":
        processor.run(ProcessorSettings.from_environment(os.environ))
    else:
        recorder.run(RecorderSettings.from_environment(os.environ))


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2])
