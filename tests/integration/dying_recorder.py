"""`freshet recorder`, which kills itself just before the commit of its n-th transaction; 0: never.

Its rows are in the database then and nothing of them counts: the moment at which exactly-once is lost, if it is.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from freshet.cli import app
from freshet.recorder import fence
from freshet.runtime import turns


def main() -> None:
    """The first argument is n."""
    left = int(sys.argv.pop(1))
    advance = fence.advance

    def dying(*arguments: Any) -> None:
        nonlocal left
        advance(*arguments)
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    fence.advance = dying  # type: ignore[assignment]
    turns.END_SECONDS = 60.0  # sooner than a test gives up waiting, so that it is told where it stands
    app(["recorder"])


main()
