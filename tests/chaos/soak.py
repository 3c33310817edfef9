"""`make soak`: the whole system at a steady rate for a long time; memory, descriptors and connections must not grow.

The windows are short, so that states have their final size after a few minutes, and what grows afterwards is a leak.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import psycopg
import redis
from rich.console import Console
from rich.table import Table

from freshet.dev.http import NOT_ANSWERED, Connection
from freshet.dev.pace import at_rate
from freshet.dev.sender import Row, Sender
from tests.chaos.__main__ import say
from tests.chaos.bare import Bare
from tests.chaos.processes import Process

FIGURES = Path(__file__).parent.parent.parent / "build" / "soak.json"
_USERS = 2_000
_READS = 20
"""A second."""
_SAMPLE_SECONDS = 5.0
_WARM_SECONDS = 480.0
"""Windows of 5 minutes and a duplicate filter of 2 are full then; in a short run the first half is left out instead."""
_MOST_MB_PER_MINUTE = 1.0
_MOST_MORE = 4
"""Descriptors or connections: pools breathe."""


@dataclass
class Series:
    """What was seen of one thing over time."""

    unit: str
    at: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def add(self, at: float, value: float) -> None:
        """One sample."""
        self.at.append(at)
        self.values.append(value)

    def slope(self, after: float) -> float:
        """Least squares over the samples after that time, a minute."""
        kept = np.array(self.at) >= after
        x, y = np.array(self.at)[kept] / 60, np.array(self.values)[kept]
        return float(np.polyfit(x, y, 1)[0]) if len(x) > 2 else 0.0

    def growth(self, after: float) -> float:
        """Mean of the last quarter of these samples minus mean of the first."""
        kept = np.array(self.values)[np.array(self.at) >= after]
        part = max(1, len(kept) // 4)
        return float(kept[-part:].mean() - kept[:part].mean())

    def bad(self, after: float) -> bool:
        """Whether it grows as only a leak does."""
        if self.unit == "MB":
            return self.slope(after) >= _MOST_MB_PER_MINUTE
        return self.growth(after) > _MOST_MORE


def main() -> int:
    """Runs; the exit code says whether nothing grew."""
    options = argparse.ArgumentParser(prog="make soak", description=__doc__)
    options.add_argument("--duration", type=float, default=1800, help="seconds")
    options.add_argument("--rate", type=float, default=5000, help="events a second")
    given = options.parse_args()
    with TemporaryDirectory(prefix="freshet-soak-") as folder, Bare(Path(folder), history=True) as system:
        for name in ("ingest", "processor", "recorder", "serving"):
            system.service(name, name)
        began = time.monotonic()
        series, sent, reads = run(system, given.duration, given.rate)
    seconds = time.monotonic() - began
    after = min(_WARM_SECONDS, given.duration / 2)
    show(series, after, f"{sent:,} events in {seconds:.0f} s, {reads:,} reads")
    document = {
        "seconds": round(seconds),
        "events": sent,
        "reads": reads,
        "warm_up_seconds": after,
        "series": {name: _figures(one, after) for name, one in series.items()},
    }
    FIGURES.parent.mkdir(exist_ok=True)
    FIGURES.write_text(json.dumps(document, indent=1) + "\n")
    slow = sent < 0.98 * given.rate * given.duration
    if slow:
        say(f"only {sent / seconds:,.0f} events/s were acknowledged")
    return 1 if slow or any(one.bad(after) for one in series.values()) else 0


def run(system: Bare, duration: float, rate: float) -> tuple[dict[str, Series], int, int]:
    """Sends at the rate, reads, and looks; what was seen, and how many events and reads there were."""
    halt, reads = threading.Event(), [0]
    reader = threading.Thread(target=_read, args=(system, halt, reads), daemon=True)
    reader.start()
    series: dict[str, Series] = {}
    ingest = next(one for one in system.services if one.name == "ingest")
    sender = Sender(ingest.url)
    began, looked_at = time.monotonic(), 0.0
    for part in at_rate(rows(), rate):
        sender.submit(part)
        now = time.monotonic() - began
        if now >= duration:
            break
        if now - looked_at >= _SAMPLE_SECONDS:
            looked_at = now
            look(system, now, series)
            if int(now / _SAMPLE_SECONDS) % 12 == 0:
                say(
                    f"{sender.summary.accepted:,} events, "
                    + ", ".join(f"{n} {s.values[-1]:.0f}" for n, s in series.items())
                )
    sender.drain()
    halt.set()
    reader.join()
    return series, sender.close().accepted, reads[0]


def rows() -> Iterator[Row]:
    """Endless."""
    rng = random.Random(1)
    for n in itertools.count():
        event = {
            "event_id": str(n),
            "user_id": f"u{rng.randrange(_USERS)}",
            "timestamp": time.time_ns() // 1_000_000,
            "event_type": "purchase" if n % 5 == 0 else "view",
            "amount": n % 50,
        }
        yield Row(n, json.dumps(event).encode())


def look(system: Bare, at: float, series: dict[str, Series]) -> None:
    """One sample of everything."""
    for process in system.services:
        assert process.alive, f"{process.name} ended with {process.code}"
        _add(series, f"{process.name} rss", "MB", at, rss_mb(process))
        _add(series, f"{process.name} descriptors", "", at, len(os.listdir(f"/proc/{process.pid}/fd")))
    with redis.Redis.from_url(system.valkey.url) as store:
        _add(series, "Valkey connections", "", at, store.info("clients")["connected_clients"])
    assert system.postgres is not None
    with psycopg.connect(system.postgres.url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
        ).fetchone()
        _add(series, "PostgreSQL connections", "", at, row[0] if row else 0)


def rss_mb(process: Process) -> float:
    """Resident memory."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def show(series: dict[str, Series], after: float, title: str) -> None:
    """The table."""
    table = Table(title=title)
    for heading in ("what", "at the end", f"a minute, after {after:.0f} s", "growth", ""):
        table.add_column(heading, justify="left" if heading in ("what", "") else "right")
    for name, one in series.items():
        end, slope, growth = f"{one.values[-1]:.1f}", f"{one.slope(after):+.3f}", f"{one.growth(after):+.1f}"
        table.add_row(name, f"{end} {one.unit}", slope, growth, "GROWS" if one.bad(after) else "")
    Console(width=max(110, Console().width)).print(table)


def _figures(one: Series, after: float) -> dict[str, float | bool]:
    return {"end": one.values[-1], "a_minute": one.slope(after), "growth": one.growth(after), "bad": one.bad(after)}


def _add(series: dict[str, Series], name: str, unit: str, at: float, value: float) -> None:
    series.setdefault(name, Series(unit)).add(at, value)


def _read(system: Bare, halt: threading.Event, reads: list[int]) -> None:
    serving = next(one for one in system.services if one.name == "serving")
    connection, rng = Connection(serving.url), random.Random(2)
    while not halt.wait(1 / _READS):
        try:
            reads[0] += connection.get(f"/features/u{rng.randrange(_USERS)}").status == 200
        except NOT_ANSWERED as error:
            say(f"serving: {error}")
    connection.close()


if __name__ == "__main__":
    sys.exit(main())
