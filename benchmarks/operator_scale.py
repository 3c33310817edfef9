"""`make scale-operator`: many FeatureSets on the API server of KUBECONFIG: time, memory, writes.

One namespace without pods, one operator process with the rights of the chart, a proxy that counts its requests and the
embedded Kafka. What is measured is printed and written to `benchmarks/results/operator.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.results import Figure, machine
from freshet.dev.servers import EmbeddedKafka
from tests.cluster.api import Api
from tests.cluster.conftest import apply_crds, installer, kubeconfig, namespaces
from tests.cluster.installation import Installation
from tests.cluster.samples import featureset

RESULTS = Path(__file__).parent / "results" / "operator.json"
CHILDREN_SECONDS = 60.0
READY_SECONDS = 600.0
RESTART_SECONDS = 15.0
MEMORY_MEGABYTES = 110.0
MEMORY_KILOBYTES_EACH = 60.0
TOPICS = 8
"""FeatureSets share topics: a broker with 900 of them would be what is measured."""

_console = Console(stderr=True)


@dataclass
class Run:
    """One installation under measurement."""

    installation: Installation
    count: int
    figures: list[Figure] = field(default_factory=list)

    def add(self, name: str, value: float, unit: str, limit: float, limit_is: str) -> None:
        """Notes a figure."""
        self.figures.append(Figure(name, value, unit, limit, limit_is))

    def memory(self) -> float:
        """Of the operator, in MB."""
        return self.installation.operator.resident_bytes() / 1e6


def main() -> None:
    """Measures and publishes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=300, help="FeatureSets (300)")
    parser.add_argument("--idle", type=float, default=600, help="seconds without a change (600)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # in order: what was made in the cluster goes
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        kafka = stack.enter_context(EmbeddedKafka(folder / "kafka"))
        api = Api(kubeconfig())
        stack.callback(api.close)
        apply_crds(api)
        make = stack.enter_context(namespaces(api))
        install = stack.enter_context(installer(api, kafka, lambda: folder, make))
        run = Run(install(), options.count)
        measure(api, run, options.idle)
    publish(run)


def measure(api: Api, run: Run, idle_seconds: float) -> None:
    """All figures, one after another, on one operator."""
    installation = run.installation
    installation.until(lambda: installation.operator.get("/readyz"), 30, "the operator runs")
    run.add("resident memory, no FeatureSet", run.memory(), "MB", MEMORY_MEGABYTES, "goal")
    base = run.memory()
    _fill(api, run)
    with _console.status("waiting until the operator rests …"):
        _rest(installation)
    each = (run.memory() - base) * 1000 / run.count
    run.add(
        f"resident memory, {run.count} FeatureSets", run.memory(), "MB", MEMORY_MEGABYTES + 0.06 * run.count, "goal"
    )
    run.add("memory of one FeatureSet", each, "kB", MEMORY_KILOBYTES_EACH, "goal")
    _idle(run, idle_seconds)
    _restart(run)


def _fill(api: Api, run: Run) -> None:
    space = run.installation.namespace
    begun = time.monotonic()
    for i in range(run.count):
        name = f"fs-{i:04d}"
        api.create(featureset(space, name, f"{space}-{i % TOPICS}", output={"topic": f"{space}-{i % TOPICS}-out"}))
        if i % 50 == 49:
            _console.print(f"{i + 1} made after {time.monotonic() - begun:.0f} s")
    made = time.monotonic() - begun
    run.add("FeatureSets made after", made, "s", CHILDREN_SECONDS, "for comparison: how fast they came")

    def deployments() -> bool:
        return len(api.all("Deployment", space)) >= run.count

    _wait(run, deployments, READY_SECONDS, "every FeatureSet has its Deployment")
    run.add("all have children after", time.monotonic() - begun, "s", CHILDREN_SECONDS, "issue")

    def observed() -> bool:
        return all(fs.get("status", {}).get("observedGeneration") == 1 for fs in api.all("FeatureSet", space))

    _wait(run, observed, READY_SECONDS, "every FeatureSet has a status")
    took = time.monotonic() - begun
    run.add("all have a status after", took, "s", 2 * CHILDREN_SECONDS, "goal")
    seen = run.installation.proxy.since(begun)
    writes = [s for s in seen if s.is_write]
    run.add("requests a second while they came", len(seen) / took, "1/s", 100, "goal")
    run.add("writes for each FeatureSet", len(writes) / run.count, "", 20, "for comparison")


def _wait(run: Run, look: Callable[[], bool], seconds: float, what: str) -> None:
    _console.print(f"waiting: {what}")
    with _console.status(f"{what} …"):
        end = time.monotonic() + seconds
        while not look():
            if time.monotonic() > end:
                raise SystemExit(f"not within {seconds:g} s: {what}\n{run.installation.story()}")
            time.sleep(0.5)


def _rest(installation: Installation) -> None:
    """Returns when nothing has been written for 35 s: figures of a status are written at most every 30."""
    end = time.monotonic() + READY_SECONDS
    while installation.proxy.writes(time.monotonic() - 35):
        if time.monotonic() > end:
            raise SystemExit(f"the operator writes on and on: {_last_writes(installation)}")
        time.sleep(1)


def _last_writes(installation: Installation) -> list[str]:
    return [f"{s.method} {s.path}" for s in installation.proxy.writes()[-5:]]


def _idle(run: Run, seconds: float) -> None:
    installation = run.installation
    cpu = _cpu_seconds(installation)
    begun = time.monotonic()
    with _console.status(f"idle for {seconds:g} s …"):
        time.sleep(seconds)
    writes = len(installation.proxy.writes(begun))
    run.add(f"writes in {seconds:g} s at rest", writes, "", 0, "issue")
    run.add("processor use at rest", 1000 * (_cpu_seconds(installation) - cpu) / seconds, "millicores", 30, "goal")
    run.add("requests a second at rest", len(installation.proxy.since(begun)) / seconds, "1/s", 10, "for comparison")
    run.add("resident memory after it", run.memory(), "MB", MEMORY_MEGABYTES + 0.06 * run.count, "goal")


def _cpu_seconds(installation: Installation) -> float:
    fields = Path(f"/proc/{installation.operator.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _restart(run: Run) -> None:
    installation = run.installation
    installation.operator.stop()
    begun = time.monotonic()
    installation.operator.start()

    def looked() -> bool:
        return _reconciles(installation) >= run.count

    _wait(run, looked, READY_SECONDS, "the new process has looked at all of them")
    run.add("restart: all looked at after", time.monotonic() - begun, "s", RESTART_SECONDS, "issue")
    time.sleep(10)
    run.add("restart: writes", len(installation.proxy.writes(begun)), "", 0, "issue")


def _reconciles(installation: Installation) -> float:
    """Of FeatureSets that ended well, by the operator's own count."""
    answer = installation.operator.get("/metrics")
    lines = answer.body.decode().splitlines() if answer is not None else []
    wanted = 'controller_runtime_reconcile_total{controller="featureset",result="success"}'
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.lower().startswith(wanted))


def publish(run: Run) -> None:
    """Prints the table and writes the JSON."""
    table = Table(title=f"make scale-operator · {run.count} FeatureSets · {machine()}")
    for heading in ("figure", "value", "unit", "limit", "the limit is"):
        table.add_column(heading, justify="right" if heading in ("value", "limit") else "left")
    for f in run.figures:
        table.add_row(f.name, f"{f.value:,.1f}", f.unit, f"{f.limit:,.1f}", f.limit_is)
    Console(width=max(120, Console().width)).print(table)
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    figures = [{"name": f.name, "value": round(f.value, 2), "unit": f.unit, "limit": f.limit} for f in run.figures]
    RESULTS.write_text(json.dumps({"machine": machine(), "count": run.count, "figures": figures}, indent=2) + "\n")


if __name__ == "__main__":
    main()
