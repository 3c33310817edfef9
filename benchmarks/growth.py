"""growth.*: whether cost stays flat: events/s with the number of entities, read time with the number of windows."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

import numpy as np

from benchmarks.processor import case
from benchmarks.results import Figure
from freshet.engine.decode import EventDecoder
from freshet.engine.layout import Layout
from freshet.engine.reader import Reader
from freshet.engine.state import PartitionState
from freshet.spec.load import parse_featureset

_WINDOWS = ("1h", "6h", "24h", "7d", "5m", "10m", "15m", "30m", "2h", "3h", "4h", "8h", "12h", "2d", "3d", "5d")
_ENTITIES = 32
_EVENTS = 200
_ROUNDS = 200
_NOW = 1_800_000_000_000


def measure() -> list[Figure]:
    """Rates at 1,000 and 10,000 entities beside 100,000; reads of 32 entities over 1 and 4 windows beside 16."""
    few, some, many = (case("growth", users) for users in (1_000, 10_000, 100_000))
    one, four, sixteen = (_read_us(_WINDOWS[:count]) for count in (1, 4, 16))
    read = f"us an entity, {_ENTITIES} together, {_EVENTS} events each"
    return [
        Figure("growth.1k", few.value, "events/s", many.value, "100,000 entities"),
        Figure("growth.10k", some.value, "events/s", many.value, "100,000 entities"),
        Figure("growth.windows.1", one, read, sixteen, "16 windows"),
        Figure("growth.windows.4", four, read, sixteen, "16 windows"),
    ]


def _read_us(windows: Sequence[str]) -> float:
    """Microseconds of one entity's read, median of the rounds."""
    manifest = {
        "apiVersion": "freshet.dev/v1alpha1",
        "kind": "FeatureSet",
        "metadata": {"name": "growth"},
        "spec": {
            "version": "v1",
            "entity": {"name": "user", "key": "user_id"},
            "source": {"topic": "raw-events", "fields": {"amount": {"type": "double"}}},
            "features": [
                {"name": "n", "aggregate": "count", "windows": list(windows)},
                {"name": "total", "aggregate": "sum", "of": "amount", "windows": list(windows)},
            ],
        },
    }
    definition = parse_featureset(json.dumps(manifest)).definition
    layout = Layout(definition)
    states, reader = PartitionState(definition, layout), Reader(definition, layout)
    keys = [f"user_{i}" for i in range(_ENTITIES)]
    states.load(keys, [None] * len(keys))
    ages = np.sort(np.random.default_rng(1).integers(0, 7 * 86_400_000, _EVENTS * len(keys)))[::-1]
    values = [
        b'{"user_id":"%s","timestamp":%d,"amount":1.5}' % (keys[i % len(keys)].encode(), _NOW - age)
        for i, age in enumerate(ages.tolist())
    ]
    offsets = np.arange(len(values))
    batch, _ = EventDecoder(definition).decode(values, offsets, np.full(len(values), _NOW))
    states.apply(batch, np.ones(len(batch), np.bool_))
    blobs = [write.blob for write in states.encode(states.slots(keys))]
    times = []
    for _ in range(_ROUNDS):
        begin = time.perf_counter()
        reader.read(keys, blobs, _NOW)
        times.append(time.perf_counter() - begin)
    return float(np.median(times)) * 1e6 / len(keys)


if __name__ == "__main__":
    from benchmarks.results import publish

    publish(measure())
