"""Figures beside their limits: the table and `benchmarks/results/latest.json`."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

LATEST = Path(__file__).parent / "results" / "latest.json"


@dataclass(frozen=True, slots=True)
class Figure:
    """One measurement."""

    name: str
    value: float
    unit: str
    limit: float
    """What the value is held against, measured in the same run or stated by the project."""
    limit_is: str
    """What the limit is, in words."""


def machine() -> str:
    """Processor, cores, memory and Python of this machine, in one line."""
    cpu = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor() or platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{cpu}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}, Python {platform.python_version()}"


def publish(figures: list[Figure], *, partial: bool = True) -> None:
    """Prints the table and writes the JSON; `partial`: figures of an earlier run that are not among these stay, which
    may be of another machine."""
    table = Table(title=f"make bench · {machine()}")
    for heading in ("figure", "value", "unit", "limit", "value / limit", "the limit is"):
        words = heading in ("figure", "unit", "the limit is")
        table.add_column(heading, justify="left" if words else "right", no_wrap=heading != "the limit is")
    for f in figures:
        table.add_row(f.name, f"{f.value:,.1f}", f.unit, f"{f.limit:,.1f}", f"{f.value / f.limit:.2f}", f.limit_is)
    Console(width=max(140, Console().width)).print(table)
    LATEST.parent.mkdir(parents=True, exist_ok=True)
    new = {f.name: {**asdict(f), "machine": machine()} for f in figures}
    old = json.loads(LATEST.read_text())["figures"] if partial and LATEST.exists() else []
    kept = {f["name"]: f for f in old}
    LATEST.write_text(json.dumps({"figures": list({**kept, **new}.values())}, indent=2) + "\n")


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
