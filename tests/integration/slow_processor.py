"""A real processor that once needs longer for a batch than Kafka waits for a poll: `python -m … after seconds`."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

from freshet.engine.decode import EventDecoder
from freshet.processor import service
from freshet.processor.records import Records
from freshet.processor.runner import Runner
from freshet.processor.together import take_together
from freshet.runtime.settings import ProcessorSettings

Parts = Sequence[tuple[Runner, Records]]


def main(after: int, seconds: float) -> None:
    """Runs until killed; the batch `after` so many is the slow one."""
    taken = 0

    def slow(decoder: EventDecoder, parts: Parts, now_ms: int) -> Any:
        nonlocal taken
        taken += 1
        if taken == after:
            time.sleep(seconds)
        return take_together(decoder, parts, now_ms)

    with patch.object(service, "take_together", slow):
        service.run(ProcessorSettings.from_environment(os.environ))


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
