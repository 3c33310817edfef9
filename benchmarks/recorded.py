"""What history costs the online path: the same load with and without a recorder that also takes checkpoints.

recorded.p50, recorded.p99  from the 202 of an event until a read shows it, beside the same without a recorder
recorded.cpu                the processor's CPU time for an event, beside the same without a recorder

The recorder and PostgreSQL share the core of the servers, as the load does: on a cluster they have cores of their own.
So the load is one that this core carries with all of them. If it does not, fewer events come in while the recorder
runs, the processor takes fewer at once, and each costs more: that says nothing of recording, and is an error here.
Checkpoints are taken six times as often as usual, so that each partition has one while it is measured.
"""

from __future__ import annotations

import threading
import time
from typing import NamedTuple

import numpy as np

from benchmarks.freshness import load, probe
from benchmarks.results import Figure
from benchmarks.stack import MEASURED, OTHERS, pinned, stack
from freshet.dev.servers import EmbeddedPostgres

RATE = 1_000
_WARM_SECONDS = 8
_CHECKPOINT_SECONDS = "30"
_PAIRS = 2


class _Seen(NamedTuple):
    waits: list[float]
    cpu_us: float


def measure() -> list[Figure]:
    """Without, with, and so on in turn, without at both ends: means of the runs of each kind."""
    plain, recorded = [_run(recorded=False)], list[_Seen]()
    for _ in range(_PAIRS):
        recorded.append(_run(recorded=True))
        plain.append(_run(recorded=False))
    beside = f"without a recorder, {RATE:,} events/s"
    return [
        *(
            Figure(f"recorded.p{share}", _wait(recorded, share), "ms", _wait(plain, share), beside)
            for share in (50, 99)
        ),
        Figure("recorded.cpu", _cpu(recorded), "µs an event", _cpu(plain), beside),
    ]


def _wait(runs: list[_Seen], share: int) -> float:
    return float(np.mean([np.percentile(run.waits, share) for run in runs]))


def _cpu(runs: list[_Seen]) -> float:
    return float(np.mean([run.cpu_us for run in runs]))


def _run(*, recorded: bool) -> _Seen:
    with stack() as running:
        processor = running.service("processor", MEASURED)
        serving = running.service("serving", OTHERS)
        ingest = running.service("ingest", OTHERS)
        with pinned(OTHERS):
            server = EmbeddedPostgres(running.folder / "postgres").start() if recorded else None
        if server is not None:
            settings = {"FRESHET_POSTGRES": server.url, "FRESHET_CHECKPOINT_SECONDS": _CHECKPOINT_SECONDS}
            recorder = running.service("recorder", OTHERS, **settings)
        stop = threading.Event()
        loading = threading.Thread(target=load, args=(ingest, stop, RATE))
        loading.start()
        try:
            time.sleep(_WARM_SECONDS)
            before, began = [processor.metric(name) for name in _COUNTERS], time.monotonic()
            waits = probe(ingest, serving)
            seconds = time.monotonic() - began
            cpu, events = (processor.metric(name) - was for name, was in zip(_COUNTERS, before, strict=True))
            if events < 0.97 * RATE * seconds:
                raise RuntimeError(f"{events / seconds:,.0f} of {RATE:,} events/s came in: the load's core is full")
            if server is not None:
                taken = recorder.metric("checkpointed_states_total")
                assert taken > 0, "no checkpoint was taken"
        finally:
            stop.set()
            loading.join()
            if server is not None:
                server.kill()
    return _Seen(waits, 1e6 * cpu / events)


_COUNTERS = ("process_cpu_seconds_total", "events_processed_total")


if __name__ == "__main__":
    from benchmarks.results import publish

    publish(measure(), partial=True)
