"""handover: how long acknowledged events wait for their values while processors are replaced, added and taken away.

`python -m benchmarks.handover` prints the longest wait of each phase, beside that of a quiet time in the same run. It
writes `build/handover.json`.
"""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from rich.console import Console
from rich.table import Table

from freshet.dev.servers import EmbeddedKafka, EmbeddedValkey
from tests.integration.freshness import Freshness
from tests.integration.system import Load, System

RATE = 1000.0
QUIET_SECONDS = 10.0
RESULT = Path("build/handover.json")
_JOIN_SECONDS = 120.0


class Run:
    """A FeatureSet of four partitions under load, and its processors."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.processors: list[subprocess.Popen[bytes]] = []
        self.phases: dict[str, dict[str, float]] = {}

    def join(self, count: int = 1) -> None:
        """One more after another, each until it has partitions."""
        for _ in range(count):
            before = {p.token for p in self.system.progress() if p is not None}
            self.processors.append(self.system.processor())
            end = time.monotonic() + _JOIN_SECONDS
            while not any(p is not None and p.token not in before for p in self.system.progress()):
                if time.monotonic() > end:
                    raise RuntimeError("a processor got no partition")
                time.sleep(0.1)

    def leave(self, count: int = 1) -> None:
        """The oldest ones, in order."""
        for _ in range(count):
            process = self.processors.pop(0)
            process.send_signal(signal.SIGTERM)
            if process.wait(60) != 0:
                raise RuntimeError(f"a processor ended with {process.returncode}")
            time.sleep(2)

    def replace(self) -> None:
        """All by new ones, as a Deployment does it."""
        for _ in range(len(self.processors)):
            self.join()
            self.leave()

    def phase(self, name: str, work: Callable[[], object]) -> None:
        """Does it, and keeps how long events waited meanwhile."""
        watch = Freshness(self.system)
        watch.start()
        work()
        time.sleep(2)
        watch.stop()
        waits = np.array(watch.waits)
        self.phases[name] = {
            "events": len(waits),
            "p50": float(np.percentile(waits, 50)),
            "p99": float(np.percentile(waits, 99)),
            "longest": float(waits.max()),
        }


def main() -> None:
    """Runs all phases, compares everything with SQL, prints and writes the figures."""
    with TemporaryDirectory() as folder, Console(stderr=True).status("handover …"):
        servers = EmbeddedKafka(Path(folder) / "kafka"), EmbeddedValkey(Path(folder) / "valkey")
        for server in servers:
            server.start()
        try:
            with closing(System(Path(folder), servers, "bench", lambda kind: kind)) as system:
                phases = _measure(Run(system))
        finally:
            for server in servers:
                server.stop()
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(phases, indent=2))
    table = Table("phase", "events", "p50 s", "p99 s", "longest s")
    for name, one in phases.items():
        table.add_row(name, f"{one['events']:,.0f}", *(f"{one[key]:.2f}" for key in ("p50", "p99", "longest")))
    Console().print(table)


def _measure(run: Run) -> dict[str, dict[str, float]]:
    load = Load(run.system, RATE, seed=5)
    load.start()
    run.join(2)
    time.sleep(5)
    run.phase("nothing happens", lambda: time.sleep(QUIET_SECONDS))
    run.phase("rolling restart of 2 (one more, one less, twice)", run.replace)
    run.phase("2 to 1", run.leave)
    run.phase("1 to 4", lambda: run.join(3))
    run.phase("4 to 2", lambda: run.leave(2))
    load.stop()
    run.system.wait_processed(120)
    run.system.assert_exact(run.system.logs())
    return run.phases


if __name__ == "__main__":
    main()
