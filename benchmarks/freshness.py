"""freshness.p99: from the 202 of an event until a read of its entity shows it, while 5,000 events/s come in.

Everything is real and speaks HTTP: ingest, Kafka, processor, Valkey, serving. Each probe is an entity of its own.
"""

from __future__ import annotations

import http.client
import json
import random
import threading
import time

import numpy as np

from benchmarks.events import event
from benchmarks.results import Figure
from benchmarks.stack import MEASURED, OTHERS, Service, stack

RATE = 5_000
SECONDS = 25
_WARM_SECONDS = 5
_LOAD_BATCH = 100
_LIMIT_MS = 100.0


def measure() -> list[Figure]:
    """p50 and p99 of the probes, in milliseconds, beside the promise."""
    with stack() as running:
        # Two cores for six processes: the processor has one nearly to itself, as in a pod.
        running.service("processor", MEASURED)
        serving = running.service("serving", OTHERS)
        ingest = running.service("ingest", OTHERS)
        stop = threading.Event()
        loading = threading.Thread(target=load, args=(ingest, stop))
        loading.start()
        try:
            time.sleep(_WARM_SECONDS)
            waits = probe(ingest, serving)
        finally:
            stop.set()
            loading.join()
    name = f"the project's promise at {RATE:,} events/s ({len(waits)} probes)"
    return [
        Figure("freshness.p50", float(np.percentile(waits, 50)), "ms", _LIMIT_MS, name),
        Figure("freshness.p99", float(np.percentile(waits, 99)), "ms", _LIMIT_MS, name),
    ]


def _post(connection: http.client.HTTPConnection, body: object) -> None:
    connection.request("POST", "/ingest", json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != 202:
        raise RuntimeError(f"ingest answered {answer.status}: {text[:300]!r}")


def load(ingest: Service, stop: threading.Event, rate: int = RATE) -> None:
    """Posts `rate` events a second, or what ingest takes, until told to stop."""
    rng, number = random.Random(2), 0
    connection = http.client.HTTPConnection("127.0.0.1", ingest.port, timeout=30)
    begin = time.monotonic()
    while not stop.is_set():
        now = time.time_ns() // 1_000_000
        _post(
            connection,
            [event(rng, f"user_{rng.randrange(10_000):06d}", number + i, now) for i in range(_LOAD_BATCH)],
        )
        number += _LOAD_BATCH
        time.sleep(max(0.0, begin + number / rate - time.monotonic()))


def probe(ingest: Service, serving: Service) -> list[float]:
    """Milliseconds from each probe's 202 until a read shows it."""
    rng = random.Random(3)
    write = http.client.HTTPConnection("127.0.0.1", ingest.port, timeout=30)
    read = http.client.HTTPConnection("127.0.0.1", serving.port, timeout=30)
    waits, end, number = [], time.monotonic() + SECONDS, 0
    while time.monotonic() < end:
        number += 1
        user = f"probe_{number}"
        _post(write, event(rng, user, 10**8 + number, time.time_ns() // 1_000_000))
        begin = time.monotonic()
        while not _visible(read, user):
            if time.monotonic() - begin > 10:
                raise RuntimeError(f"{user} was accepted and is not readable after 10 s")
            time.sleep(0.002)
        waits.append(1000 * (time.monotonic() - begin))
        time.sleep(rng.uniform(0.005, 0.03))
    return waits


def _visible(read: http.client.HTTPConnection, user: str) -> bool:
    read.request("GET", f"/features/{user}/activity_count_1h")
    answer = read.getresponse()
    body = json.loads(answer.read())
    return answer.status == 200 and bool(body["value"])


if __name__ == "__main__":
    from benchmarks.results import publish

    publish(measure())
