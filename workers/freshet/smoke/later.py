"""6 and 7: what this version of Freshet does not have. It is listed, so that nobody takes its absence for a pass."""

from __future__ import annotations

from collections.abc import Iterator

from freshet.smoke.report import Check, absent
from freshet.smoke.state import Run


def experiments(run: Run) -> Iterator[Check]:
    """6."""
    yield absent("assignment of variants", "this version has no experiments: nothing was checked")


def drift(run: Run) -> Iterator[Check]:
    """7."""
    yield absent("drift monitor", "this version does not watch for drift: nothing was checked")
