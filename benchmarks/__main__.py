"""`python -m benchmarks [NAME …]`: all figures, or those of the named modules."""

from __future__ import annotations

import importlib
import sys

from rich.console import Console

from benchmarks.results import publish

NAMES = ("processor", "freshness", "serving", "ingest", "memory", "growth", "history", "rebuild", "recorded")


def main(chosen: list[str]) -> None:
    """Runs the benchmarks one after another and publishes the figures of each."""
    unknown = [name for name in chosen if name not in NAMES]
    if unknown:
        raise SystemExit(f"there is no benchmark {', '.join(unknown)}; there are {', '.join(NAMES)}")
    for position, name in enumerate(chosen or NAMES):
        with Console(stderr=True).status(f"{name} …"):
            figures = importlib.import_module(f"benchmarks.{name}").measure()
        publish(figures, partial=bool(chosen or position))  # at once: a later one may fail after minutes


main(sys.argv[1:])
