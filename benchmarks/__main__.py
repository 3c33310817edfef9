"""`python -m benchmarks`: all figures."""

from __future__ import annotations

from rich.console import Console

from benchmarks import freshness, processor, serving
from benchmarks.results import publish


def main() -> None:
    """Runs every benchmark, one after another, and publishes the figures."""
    figures = []
    for module in (processor, freshness, serving):
        with Console(stderr=True).status(f"{module.__name__} …"):
            figures += module.measure()
    publish(figures)


main()
