"""A real processor that once needs longer for a batch than Kafka waits for a poll: `python -m … after seconds`."""

from __future__ import annotations

import os
import sys
import time

from freshet.processor import service
from freshet.processor.partition import PartitionOwner
from freshet.processor.records import Records
from freshet.runtime.settings import ProcessorSettings


def main(after: int, seconds: float) -> None:
    """Runs until killed; the batch `after` so many is the slow one."""
    take = PartitionOwner.take
    taken = 0

    def slow(self: PartitionOwner, records: Records, now_ms: int) -> None:
        nonlocal taken
        taken += 1
        if taken == after:
            time.sleep(seconds)
        take(self, records, now_ms)

    PartitionOwner.take = slow  # type: ignore[method-assign]
    service.run(ProcessorSettings.from_environment(os.environ))


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
