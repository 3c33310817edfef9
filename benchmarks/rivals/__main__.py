"""rival.*: the same work by quixstreams and by Feast's server, in the same run, each on the same one core as ours.

`make bench-rivals`; the rivals live in an environment of their own (`.venv-rivals`).
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

from benchmarks.events import fill
from benchmarks.http_load import Load, get, load, post
from benchmarks.processor import EVENTS, until_stored
from benchmarks.results import Figure, publish
from benchmarks.stack import MEASURED, OTHERS, Stack, pinned, stack
from freshet.dev import children
from freshet.dev.ports import free_ports, listens

_HERE = Path(__file__).parent
_PYTHON = Path(os.environ.get("RIVALS_PYTHON", _HERE.parent.parent / ".venv-rivals" / "bin" / "python"))
_RIVAL_EVENTS = 100_000
USERS = 10_000
SECONDS = 8.0


def measure() -> list[Figure]:
    """Freshet's rates; the rival's are the limits, so value / limit says how many times faster."""
    with stack() as running:
        fill(running, EVENTS, USERS)
        quix = _quixstreams(running)
        processor = running.service("processor", MEASURED)
        ours = until_stored(running, processor, EVENTS)
        processor.stop()
        served, feast = _serving(running), _feast(running)
    features = len(running.featureset.definition.features)
    return [
        Figure(
            "rival.quixstreams",
            ours,
            f"events/s, {features} features, exactly once",
            quix,
            "quixstreams: one count over the same four windows, tumbling, no changelog",
        ),
        Figure(
            "rival.feast",
            served.requests_per_second,
            f"req/s of {features} features, 32 connections",
            feast.requests_per_second,
            "Feast's feature server, as many float features in one view, same Valkey",
        ),
        Figure("rival.feast.p99", served.p99_ms, "ms", feast.p99_ms, "the same server's"),
    ]


def _quixstreams(running: Stack) -> float:
    topic = running.featureset.source.topic
    with pinned(MEASURED):
        program = [str(_PYTHON), str(_HERE / "quix_count.py"), running.kafka.bootstrap, topic, str(_RIVAL_EVENTS)]
        done = subprocess.run(program, check=True, capture_output=True, text=True, timeout=600)
    return float(done.stdout.split()[-1])


def _serving(running: Stack) -> Load:
    server = running.service("serving", MEASURED)
    with pinned(OTHERS):
        seen = load("127.0.0.1", server.port, [get(f"/features/user_{i:06d}") for i in range(0, USERS, 7)], 32, SECONDS)
    server.stop()
    return _good(seen)


def _feast(running: Stack) -> Load:
    features = len(running.featureset.definition.features)
    (port,) = free_ports(1)
    store, log = f"127.0.0.1:{running.valkey.port}", running.folder / "feast.log"
    program = [str(_PYTHON), str(_HERE / "feast_serve.py"), str(running.folder / "feast"), store, str(USERS)]
    with pinned(MEASURED):
        server = children.spawn([*program, str(features), str(port)], log)
    end = time.monotonic() + 180
    while not listens(port):
        if server.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"Feast did not start:\n{children.tail(log)}")
        time.sleep(0.2)
    names = [f"v:f{i:02d}" for i in range(features)]
    bodies = ({"features": names, "entities": {"user_id": [f"user_{i:06d}"]}} for i in range(0, USERS, 7))
    requests = [post("/get-online-features", json.dumps(body).encode()) for body in bodies]
    with pinned(OTHERS):
        seen = load("127.0.0.1", port, requests, 32, SECONDS, warmup=3)
    children.stop(server, 10)
    return _good(seen)


def _good(seen: Load) -> Load:
    if set(seen.statuses) != {200} or seen.broken:
        raise RuntimeError(f"not every answer was 200: {seen}")
    return seen


if __name__ == "__main__":
    publish(measure())
