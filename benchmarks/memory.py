"""memory.*: what an entity costs in Valkey, what an event writes, what a processor of 100,000 entities holds."""

from __future__ import annotations

import random
from collections.abc import Callable

import redis

from benchmarks.events import send
from benchmarks.processor import samples
from benchmarks.results import Figure
from benchmarks.stack import MEASURED, Stack, stack

USERS = 2_000
MANY = 100_000


def measure() -> list[Figure]:
    """Bytes of light entities (ten events in an hour) and heavy ones (an event in every tile), and RSS."""
    with stack() as running:
        light = _entity_bytes(running, "light", [i * 6 * 60_000 for i in range(10)])
        rss = _resident(running)
    with stack() as running:
        heavy = _entity_bytes(running, "heavy", _every_tile(running))
        written = _written(running)
    return [
        Figure("memory.light", light, "bytes/entity, ten events", 1_000, "the aim"),
        Figure("memory.heavy", heavy, "bytes/entity, every tile used", 32_000, "the aim"),
        Figure("memory.written", written, "bytes/event to Valkey, heavy entities", 300, "the aim"),
        Figure("memory.processor", rss / 2**20, f"MiB RSS, {MANY:,} entities", 1024, "a pod's usual limit"),
    ]


def _entity_bytes(running: Stack, name: str, ages_ms: list[int]) -> float:
    """Growth of the store by USERS entities with an event at each of these ages, keys and allocation included."""
    client = redis.Redis.from_url(running.valkey.url)
    processor = running.service("processor", MEASURED)
    before = _used(client)
    users = [f"{name}_{i}" for i in range(USERS)]
    count = send(running, ((user, age) for age in sorted(ages_ms, reverse=True) for user in users))
    _await(lambda: processor.metric("events_processed_total"), count)
    processor.stop()
    # The duplicate filter belongs to events, not to entities, and is gone after `deduplicate`.
    filters = sum(client.memory_usage(key) or 0 for key in client.scan_iter("*:dup*", count=1000))
    return (_used(client) - before - filters) / USERS


def _every_tile(running: Stack) -> list[int]:
    """Ages so that every tile of the pyramid holds an event: 1 m for an hour, 5 m for 6, 15 m for 24, 1 h for 7 d."""
    ages: set[int] = set()
    for window in running.featureset.definition.windows:
        ages.update(range(0, window.length_ms, window.hop_ms))
    return sorted(ages)


def _written(running: Stack) -> float:
    """Bytes that reach Valkey for one more event of each heavy entity."""
    client = redis.Redis.from_url(running.valkey.url)
    processor = running.service("processor", MEASURED)
    rng, before = random.Random(7), _received(client)
    count = send(running, ((f"heavy_{rng.randrange(USERS)}", 0) for _ in range(20 * USERS)))
    _await(lambda: processor.metric("events_processed_total"), count)
    processor.stop()
    return (_received(client) - before) / count


def _resident(running: Stack) -> float:
    processor = running.service("processor", MEASURED)
    count = send(running, ((f"many_{i}", 0) for _ in range(3) for i in range(MANY)))
    _await(lambda: processor.metric("events_processed_total"), count)
    rss = processor.metric("process_resident_memory_bytes")
    processor.stop()
    return rss


def _await(done: Callable[[], float], events: int) -> None:
    for _ in samples(done, events):
        pass


def _used(client: redis.Redis) -> int:
    return int(client.info("memory")["used_memory"])


def _received(client: redis.Redis) -> int:
    return int(client.info("stats")["total_net_input_bytes"])


if __name__ == "__main__":
    from benchmarks.results import publish

    publish(measure())
