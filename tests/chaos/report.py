"""What a run has shown: a table for people, and figures appended to `build/chaos.json` for the documentation."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.chaos.rounds import Result

FIGURES = Path(__file__).parent.parent.parent / "build" / "chaos.json"


@dataclass
class Tally:
    """Of one kind of fault."""

    times: int = 0
    rounds: int = 0
    lost: int = 0
    doubled: int = 0
    wrong: int = 0
    broken: int = 0
    """Rounds with it that came to no verdict."""


def tallies(results: Sequence[Result]) -> dict[str, Tally]:
    """By name of fault. What went wrong in a round counts for each fault that was in it."""
    found: dict[str, Tally] = {}
    for result in results:
        for name, times in Counter(applied.fault.name for applied in result.applied if applied.met).items():
            tally = found.setdefault(name, Tally())
            tally.times += times
            tally.rounds += 1
            tally.lost += len(result.verdict.lost)
            tally.doubled += len(result.verdict.doubled)
            tally.wrong += len(result.verdict.wrong)
            tally.broken += result.broken is not None
    return dict(sorted(found.items()))


def looked(results: Sequence[Result]) -> Counter[str]:
    """What was compared in all rounds together."""
    total: Counter[str] = Counter()
    for result in results:
        total.update(result.verdict.looked)
    return total


def show(results: Sequence[Result]) -> None:
    """Prints the table."""
    table = Table(title=f"{len(results)} rounds: {', '.join(f'{n:,} {what}' for what, n in looked(results).items())}")
    for heading in ("fault", "times", "rounds", "lost", "doubled", "wrong", "no verdict"):
        table.add_column(heading, justify="left" if heading == "fault" else "right", no_wrap=True)
    for name, t in tallies(results).items():
        table.add_row(name, *map(str, (t.times, t.rounds, t.lost, t.doubled, t.wrong, t.broken)))
    Console(width=max(120, Console().width)).print(table)


def append(results: Sequence[Result], seed: int, seconds: float, path: Path = FIGURES) -> None:
    """Adds this run to the file."""
    runs: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
    runs.append(
        {
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "seed": seed,
            "rounds": len(results),
            "good": sum(result.good for result in results),
            "seconds": round(seconds),
            "looked": looked(results),
            "faults": {name: vars(tally) for name, tally in tallies(results).items()},
        }
    )
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(runs, indent=1) + "\n")


def total(path: Path = FIGURES) -> dict[str, Tally]:
    """All runs of the file together, by fault."""
    found: dict[str, Tally] = {}
    for run in json.loads(path.read_text()):
        for name, figures in run["faults"].items():
            tally = found.setdefault(name, Tally())
            for key, value in figures.items():
                setattr(tally, key, getattr(tally, key) + value)
    return dict(sorted(found.items()))


def markdown(path: Path = FIGURES) -> str:
    """All runs of the file as tables for the documentation."""
    runs = json.loads(path.read_text())
    seen: Counter[str] = Counter()
    for run in runs:
        seen.update(run["looked"])
    rounds, good = sum(run["rounds"] for run in runs), sum(run["good"] for run in runs)
    lines = [f"{rounds} rounds, {good} of them good.", "", "| looked at | |", "| --- | --- |"]
    lines += [f"| {what} | {count:,} |" for what, count in seen.items()]
    lines += ["", "| fault | times | lost | doubled | wrong |", "| --- | --- | --- | --- | --- |"]
    lines += [f"| {name} | {t.times} | {t.lost} | {t.doubled} | {t.wrong} |" for name, t in total(path).items()]
    return "\n".join(lines)


if __name__ == "__main__":
    print(markdown())
