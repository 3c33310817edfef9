"""serving.one, serving.hundred: all features of one entity, and of a hundred in one call; one process on one core."""

from __future__ import annotations

import json
import random
import time

from benchmarks.events import fill
from benchmarks.http_load import Load, get, load, post
from benchmarks.results import Figure
from benchmarks.stack import MEASURED, OTHERS, pinned, stack

USERS = 10_000
EVENTS = 100_000
SECONDS = 8.0


def measure() -> list[Figure]:
    """Rate and p99 at 1 and 32 connections; the limit of rates is the same server answering /health."""
    requests = [get(f"/features/user_{i:06d}") for i in range(0, USERS, 7)]
    with stack() as running:
        fill(running, EVENTS, USERS)
        processor = running.service("processor", MEASURED)
        end = time.monotonic() + 60
        while processor.metric("events_processed_total") < EVENTS and time.monotonic() < end:
            time.sleep(0.2)
        processor.stop()
        serving = running.service("serving", MEASURED)
        with pinned(OTHERS):
            constant = _checked(load("127.0.0.1", serving.port, [get("/health")], 32, SECONDS / 2))
            many = _checked(load("127.0.0.1", serving.port, requests, 32, SECONDS))
            calm = _checked(load("127.0.0.1", serving.port, [get("/health")], 1, SECONDS / 4))
            one = _checked(load("127.0.0.1", serving.port, requests, 1, SECONDS / 2))
            hundred = _checked(load("127.0.0.1", serving.port, _batches(), 4, SECONDS))
    features = len(running.featureset.definition.features)
    values = many.requests_per_second
    same = "the same process answering a constant (/health), 32 connections"
    return [
        Figure(
            "serving.one.c32",
            many.requests_per_second,
            f"req/s of {features} features",
            constant.requests_per_second,
            same,
        ),
        Figure("serving.one.c32.p99", many.p99_ms, "ms", constant.p99_ms, same),
        Figure("serving.one.c1.p99", one.p99_ms, "ms", calm.p99_ms, same.replace("32 connections", "1 connection")),
        Figure(
            "serving.hundred",
            hundred.requests_per_second,
            f"calls/s of 100 entities x {features} features, 4 connections",
            values / 100,
            "the same entities read one by one (serving.one.c32 / 100)",
        ),
        Figure("serving.hundred.p99", hundred.p99_ms, "ms", 100 * 1000 / values, "a hundred single reads, mean"),
    ]


def _batches() -> list[bytes]:
    rng = random.Random(5)
    bodies = ({"entities": [f"user_{rng.randrange(USERS):06d}" for _ in range(100)]} for _ in range(50))
    return [post("/features:batch", json.dumps(body).encode()) for body in bodies]


def _checked(seen: Load) -> Load:
    if set(seen.statuses) != {200} or seen.broken:
        raise RuntimeError(f"not every answer was 200: {seen}")
    return seen


if __name__ == "__main__":
    from benchmarks.results import publish

    publish(measure())
