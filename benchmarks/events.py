"""Events of the example manifest, as JSON, from a fixed seed."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterable

from benchmarks.stack import Stack
from freshet.stores import kafka

_TYPES = ["page_view"] * 6 + ["click"] * 2 + ["add_to_cart", "purchase"]
_DEVICES = ["mobile", "desktop", "tablet"]
_CITIES = ["Lisbon", "Oslo", "Nairobi", "Lima", "Osaka"]


def event(rng: random.Random, user: str, number: int, t_ms: int) -> dict[str, object]:
    """One event of about 190 bytes."""
    kind = rng.choice(_TYPES)
    out: dict[str, object] = {
        "event_id": f"evt_{number:09d}",
        "user_id": user,
        "event_type": kind,
        "device_type": rng.choice(_DEVICES),
        "geo": {"city": rng.choice(_CITIES)},
        "timestamp": t_ms,
    }
    if kind == "purchase":
        out["amount"] = round(rng.lognormvariate(3, 1), 2)
    return out


def fill(running: Stack, count: int, users: int, seed: int = 1, spread_ms: int = 60_000) -> None:
    """Puts so many events of so many users into the source topic, stamped within the last `spread_ms`."""
    rng = random.Random(seed)
    send(running, ((f"user_{rng.randrange(users):06d}", rng.randrange(spread_ms)) for _ in range(count)), seed)


def send(running: Stack, events: Iterable[tuple[str, int]], seed: int = 1) -> int:
    """Puts an event of each (user, age in ms) into the source topic; returns how many. All are acknowledged."""
    rng = random.Random(seed)
    source = running.featureset.source
    producer = kafka.producer(running.kafka_settings, source.partitioner, linger_ms=20)
    now = time.time_ns() // 1_000_000
    first, number = time.time_ns() % 10**9, -1
    for number, (user, age) in enumerate(events):  # its last value is the count
        value = json.dumps(event(rng, user, first + number, now - age), separators=(",", ":"))
        while True:
            try:
                producer.produce(source.topic, key=user, value=value)
                break
            except BufferError:
                producer.poll(0.1)
        if number % 1000 == 0:
            producer.poll(0)
    producer.flush()
    return number + 1
