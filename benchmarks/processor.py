"""processor.10k, .100k, .heavy: events a second of one processor on one core, beside consuming and decoding alone.

Fenced writes go to Valkey on the other core, feature vectors to Kafka. The clock starts when a tenth of the events are
in memory, and ends when the states and vectors of all of them are acknowledged.

`python -m benchmarks.processor limit BOOTSTRAP` is the limit's own process, so that both start from nothing.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
from confluent_kafka import TopicPartition

from benchmarks.events import fill
from benchmarks.results import Figure
from benchmarks.stack import EXAMPLE, MEASURED, Service, Stack, pinned, stack
from freshet.engine.decode import EventDecoder
from freshet.processor.messages import to_records
from freshet.runtime.settings import KafkaSettings
from freshet.spec.load import load_featuresets
from freshet.stores import kafka

EVENTS = int(os.environ.get("BENCH_EVENTS", "1000000"))
_MANY = 2 * EVENTS
"""Of the processor: with a backlog it writes once in some seconds, so a run is to have several such."""
HEAVY_TILES = 100
_WEEK_MS = 7 * 86_400_000 - 3_600_000
_LIMIT_IS = "consume + decode only, same core and topic"
_HEAD = 0.1
"""Share of the events before the clock starts: first loads, first connections, warm caches."""


def measure() -> list[Figure]:
    """Each case on servers of its own: the limit, the processor, and the limit again, on the same topic."""
    return [case("processor.10k", 10_000), case("processor.100k", 100_000), _heavy()]


def case(name: str, users: int) -> Figure:
    """The rate with so many active users, beside the limit."""
    with stack() as running:
        fill(running, _MANY, users)
        limit = _limit_process(running.kafka.bootstrap)
        processor = running.service("processor", MEASURED)
        rate = until_stored(running, processor, _MANY)
        again = _limit_process(running.kafka.bootstrap)
    return Figure(name, rate, "events/s", (limit + again) / 2, _LIMIT_IS)


def _heavy() -> Figure:
    """The states hold about a hundred tiles each before the clock starts."""
    users = 10_000
    with stack() as running:
        fill(running, HEAVY_TILES * users, users, spread_ms=_WEEK_MS)
        processor = running.service("processor", MEASURED)
        until(lambda: processor.metric("events_processed_total"), HEAVY_TILES * users)
        processor.stop()
        fill(running, _MANY, users, seed=2)
        again = running.service("processor", MEASURED)
        rate = until_stored(running, again, _MANY)
        limit = _limit_process(running.kafka.bootstrap)
    return Figure("processor.heavy", rate, "events/s", limit, f"{_LIMIT_IS}; {HEAVY_TILES} tiles an entity")


def _limit_process(bootstrap: str) -> float:
    with pinned(MEASURED):
        out = subprocess.run(
            [sys.executable, "-m", "benchmarks.processor", "limit", bootstrap], check=True, capture_output=True
        )
    return float(out.stdout)


def until(done: Callable[[], float], events: int) -> float:
    """Events a second between the first tenth and the end, as a counter that is read every 50 ms tells."""
    head = [(at, value) for at, value in samples(done, events) if value >= _HEAD * events]
    (begin, first), (end, last) = head[0], head[-1]
    if end == begin:
        raise RuntimeError(f"{events:,} events were done before the first look: too few to tell a rate")
    return (last - first) / (end - begin)


def until_stored(running: Stack, processor: Service, events: int) -> float:
    """Events a second of a processor that has `events` to take until it is at the end of the source topic."""
    begin, first = next(
        (at, value)
        for at, value in samples(lambda: processor.metric("events_processed_total"), events)
        if value >= _HEAD * events
    )
    if first >= events:
        raise RuntimeError(f"{events:,} events were done before the first look: too few to tell a rate")
    *_, (end, _) = samples(running.stored, running.log_end())
    return (events - first) / (end - begin)


def samples(done: Callable[[], float], events: int) -> Iterator[tuple[float, float]]:
    """Times and values of a counter, every 50 ms until it has reached `events`. Raises RuntimeError if it stands."""
    seen, at = 0.0, time.monotonic()
    end = time.monotonic() + 300
    while time.monotonic() < end:
        now, value = time.monotonic(), done()
        yield now, value
        if value >= events:
            return
        if value != seen:
            seen, at = value, now
        if now - at > 30:
            raise RuntimeError(f"the processor stands at {seen:,.0f} of {events:,} events")
        time.sleep(0.05)
    raise RuntimeError(f"only {seen:,.0f} of {events:,} events in time")


def _limit(bootstrap: str) -> float:
    """Events a second of a consumer that decodes and does nothing else."""
    featureset = load_featuresets([EXAMPLE])[0]
    decoder = EventDecoder(featureset.definition)
    consumer = kafka.consumer(KafkaSettings(bootstrap=bootstrap), "limit")
    topic = featureset.source.topic
    consumer.assign([TopicPartition(topic, p, 0) for p in range(featureset.source.partitions)])
    total, begin = 0, (0, 0.0)
    while total < EVENTS:
        first = consumer.poll(1.0)
        messages = [] if first is None else [first, *consumer.consume(10_000, 0)]
        parts: dict[object, list[object]] = {}
        for message in messages:
            if message.error() is None:
                parts.setdefault(message.partition(), []).append(message)
        for part in parts.values():
            records = to_records(part, "")  # type: ignore[arg-type]
            batch, rejected = decoder.decode(records.values, records.offset, records.broker_ms)
            assert not rejected
            total += len(batch)
            assert np.isfinite(batch.t_ms[0])
        if begin[1] == 0.0 and total >= _HEAD * EVENTS:
            begin = (total, time.monotonic())
    return (total - begin[0]) / (time.monotonic() - begin[1])


if __name__ == "__main__":
    if sys.argv[1:2] == ["limit"]:
        print(_limit(sys.argv[2]))
    else:
        from benchmarks.results import publish

        publish(measure())
