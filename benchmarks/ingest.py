"""ingest.single, ingest.batch: events a second that one process on one core has had acknowledged by the broker.

A single event a request with 32 connections, and batches of a hundred with four. Kafka and the load are on the other
core. The limit of single events is the same process answering a constant; that of batches is a bare producer that sends
the same events on the same core, each acknowledged.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time

from benchmarks.events import event
from benchmarks.http_load import Load, get, load, post
from benchmarks.results import Figure
from benchmarks.stack import EXAMPLE, MEASURED, OTHERS, pinned, stack
from freshet.runtime.settings import KafkaSettings
from freshet.spec.load import load_featuresets
from freshet.stores import kafka

SECONDS = 8.0
BATCH = 100
_PRODUCED = 200_000


def measure() -> list[Figure]:
    """Both rates and their p99."""
    singles = [post("/ingest", json.dumps(one).encode()) for one in _events(5_000)]
    hundred = _events(BATCH * 200)
    batches = [post("/ingest", json.dumps(hundred[i : i + BATCH]).encode()) for i in range(0, len(hundred), BATCH)]
    with stack() as running:
        with pinned(MEASURED):
            program = [sys.executable, "-m", "benchmarks.ingest", "limit", running.kafka.bootstrap]
            bare = float(subprocess.run(program, check=True, capture_output=True).stdout)
        ingest = running.service("ingest", MEASURED)
        with pinned(OTHERS):
            constant = _checked(load("127.0.0.1", ingest.port, [get("/health")], 32, SECONDS / 2), 200)
            single = _checked(load("127.0.0.1", ingest.port, singles, 32, SECONDS), 202)
            batch = _checked(load("127.0.0.1", ingest.port, batches, 4, SECONDS), 202)
    same = "the same process answering a constant (/health), 32 connections"
    return [
        Figure("ingest.single", single.requests_per_second, "events/s", constant.requests_per_second, same),
        Figure("ingest.single.p99", single.p99_ms, "ms", constant.p99_ms, same),
        Figure(
            "ingest.batch",
            BATCH * batch.requests_per_second,
            f"events/s in batches of {BATCH}",
            bare,
            "a producer alone on that core, each event acknowledged",
        ),
    ]


def _events(count: int) -> list[dict[str, object]]:
    rng, now = random.Random(4), time.time_ns() // 1_000_000
    return [event(rng, f"user_{rng.randrange(10_000):06d}", number, now) for number in range(count)]


def _checked(seen: Load, status: int) -> Load:
    if set(seen.statuses) != {status} or seen.broken:
        raise RuntimeError(f"not every answer was {status}: {seen}")
    return seen


def _limit(bootstrap: str) -> float:
    source = load_featuresets([EXAMPLE])[0].source
    producer = kafka.producer(KafkaSettings(bootstrap=bootstrap), source.partitioner)
    events = [(str(one["user_id"]), json.dumps(one).encode()) for one in _events(20_000)]
    failed: list[object] = []

    def delivered(error: object, _message: object) -> None:
        if error is not None:
            failed.append(error)

    begin = time.monotonic()
    for number in range(_PRODUCED):
        key, value = events[number % len(events)]
        while True:
            try:
                producer.produce(source.topic, key=key, value=value, on_delivery=delivered)
                break
            except BufferError:
                producer.poll(0.05)
        if number % 100 == 0:
            producer.poll(0)
    producer.flush()
    assert not failed
    return _PRODUCED / (time.monotonic() - begin)


if __name__ == "__main__":
    if sys.argv[1:2] == ["limit"]:
        print(_limit(sys.argv[2]))
    else:
        from benchmarks.results import publish

        publish(measure())
