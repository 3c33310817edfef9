"""serving.one.c32: requests a second for all features of one entity, 32 connections, one serving process on one core."""

from __future__ import annotations

import os
import time

from benchmarks.events import fill
from benchmarks.http_load import load
from benchmarks.results import Figure
from benchmarks.stack import MEASURED, OTHERS, pinned, stack

USERS = 10_000
EVENTS = 100_000
SECONDS = 8.0
_FLOOR = 2_500.0


def measure() -> list[Figure]:
    """Rate and p99 at 1 and 32 connections; the limit of rates is the same server answering /health."""
    paths = [f"/features/user_{i:06d}" for i in range(0, USERS, 7)]
    with stack() as running:
        fill(running, EVENTS, USERS)
        processor = running.service("processor", MEASURED)
        end = time.monotonic() + 60
        while processor.metric("events_processed_total") < EVENTS and time.monotonic() < end:
            time.sleep(0.2)
        processor.stop()
        serving = running.service("serving", MEASURED)
        with pinned(OTHERS):
            load("127.0.0.1", serving.port, paths, connections=8, seconds=1.0)
            constant = load("127.0.0.1", serving.port, ["/health"], connections=32, seconds=SECONDS / 2)
            many = load("127.0.0.1", serving.port, paths, connections=32, seconds=SECONDS)
            one = load("127.0.0.1", serving.port, paths, connections=1, seconds=SECONDS / 2)
    features = len(running.featureset.definition.features)
    same = "the same process answering a constant (/health), 32 connections"
    return [
        Figure("serving.one.c32", many.rate, f"req/s of {features} features", constant.rate, same),
        Figure("serving.one.c32.p99", many.p99_ms, "ms", constant.p99_ms, same),
        Figure("serving.one.c1.p99", one.p99_ms, "ms", constant.p99_ms, same),
        Figure("serving.floor", many.rate, "req/s", _FLOOR, "the project's floor for serving.one.c32"),
    ]


if __name__ == "__main__":
    from benchmarks.results import publish

    os.environ.setdefault("FRESHET_LOG_LEVEL", "warning")
    publish(measure())
