"""A real processor that dies like one killed with -9, just before its n-th script: `python -m … n` (0: never)."""

from __future__ import annotations

import os
import signal
import sys

from freshet.processor import service
from freshet.runtime.settings import ProcessorSettings
from freshet.stores.fence import PartitionFence, Script


def main(n: int) -> None:
    """Runs until killed."""
    send = PartitionFence.send
    sent = 0

    def dying(self: PartitionFence, script: Script) -> None:
        nonlocal sent
        sent += 1
        if sent == n:
            os.kill(os.getpid(), signal.SIGKILL)
        send(self, script)

    PartitionFence.send = dying  # type: ignore[method-assign]
    service.run(ProcessorSettings.from_environment(os.environ))


if __name__ == "__main__":
    main(int(sys.argv[1]))
