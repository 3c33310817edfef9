"""A real processor in which the n-th batch that it applies fails half-way, as by a mistake of ours: `python -m … n`."""

from __future__ import annotations

import os
import sys
from typing import Any

from freshet.engine.tiles import Tiles
from freshet.processor import service
from freshet.runtime.settings import ProcessorSettings


def main(n: int) -> None:
    """Runs until that batch."""
    merge = Tiles.merge
    seen = 0

    def failing(self: Tiles, *arguments: Any) -> Any:
        nonlocal seen
        seen += 1
        if seen == n:
            raise IndexError("half of a batch is applied")
        return merge(self, *arguments)

    Tiles.merge = failing  # type: ignore[method-assign, assignment]
    service.run(ProcessorSettings.from_environment(os.environ))


if __name__ == "__main__":
    main(int(sys.argv[1]))
