"""What processor pods measure, read from their /metrics: how far behind and busy they are, how fresh their features."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from freshet_operator.model import Figures, Key, Object
from freshet_operator.observe.pods import PodClient, addresses

BUSY = "processor_busy_seconds_total"
FRESHNESS = "freshness_seconds_bucket"
LAG = "partition_lag{"
_AGE_SECONDS = 10.0


@dataclass(slots=True)
class Reading:
    """One pod's counters at one time (monotonic seconds)."""

    at: float
    busy: float | None = None
    buckets: dict[float, float] = field(default_factory=dict)
    """Upper bound in seconds → cumulated count."""
    lags: dict[str, float] = field(default_factory=dict)
    """Partition → events that are not in its states yet."""


def parse(text: str, at: float) -> Reading:
    """The three metrics of an exposition; everything else is passed over."""
    reading = Reading(at)
    for line in text.splitlines():
        if line.startswith(BUSY):
            reading.busy = (reading.busy or 0.0) + _value(line)
        elif line.startswith(FRESHNESS):
            _, _, rest = line.partition('le="')
            bound = float(rest.partition('"')[0])
            reading.buckets[bound] = reading.buckets.get(bound, 0.0) + _value(line)
        elif line.startswith(LAG):
            _, _, rest = line.partition('partition="')
            reading.lags[rest.partition('"')[0]] = _value(line)
    return reading


def together(pairs: Iterable[tuple[Reading | None, Reading]]) -> Figures | None:
    """The figures of (earlier or None, now) readings of each pod; None without pods."""
    pods, busy, counts, lags = 0, None, dict[float, float](), dict[str, float]()
    for before, now in pairs:
        pods += 1
        for partition, lag in now.lags.items():  # one that changes hands has two owners for a moment
            lags[partition] = max(lag, lags.get(partition, 0.0))
        if before is None or now.at <= before.at:
            continue
        if before.busy is not None and now.busy is not None and now.busy >= before.busy:
            share = min(1.0, (now.busy - before.busy) / (now.at - before.at))
            busy = share if busy is None else max(busy, share)
        for bound, count in now.buckets.items():
            counts[bound] = counts.get(bound, 0.0) + max(0.0, count - before.buckets.get(bound, 0.0))
    behind = int(sum(lags.values())) if lags else None
    return Figures(pods, busy, percentile_ms(counts, 0.99), behind) if pods else None


def percentile_ms(cumulated: dict[float, float], share: float) -> float | None:
    """A percentile of a histogram in milliseconds, linear inside a bucket; None without observations."""
    bounds = sorted(cumulated)
    if not bounds or cumulated[bounds[-1]] <= 0:
        return None
    target = cumulated[bounds[-1]] * share
    low, below = 0.0, 0.0
    for bound in bounds:
        count = cumulated[bound]
        if count >= target:
            if math.isinf(bound):
                return low * 1000
            return (low + (bound - low) * (target - below) / max(count - below, 1e-9)) * 1000
        low, below = bound, count
    return low * 1000


class Scraper:
    """Asks the pods of a FeatureSet at most every ten seconds."""

    def __init__(self, pods: PodClient, port: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._pods = pods
        self._port = port
        self._clock = clock
        self._readings: dict[Key, dict[str, Reading]] = {}
        self._figures: dict[Key, tuple[float, Figures | None]] = {}

    async def figures(self, key: Key, pods: Iterable[Object]) -> Figures | None:
        """What the pods that run say; None if none answers."""
        asked = addresses(pods)
        known = self._figures.get(key)
        if known is not None and self._clock() - known[0] < _AGE_SECONDS and asked:
            return known[1]
        before = self._readings.get(key, {})
        answers = await asyncio.gather(*(self._ask(address) for address in asked.values()))
        now = {name: answer for name, answer in zip(asked, answers, strict=True) if answer is not None}
        found = together((before.get(name), reading) for name, reading in now.items())
        self._readings[key] = now
        self._figures[key] = (self._clock(), found)
        return found

    def forget(self, key: Key) -> None:
        """The FeatureSet is gone."""
        self._readings.pop(key, None)
        self._figures.pop(key, None)

    async def _ask(self, address: str) -> Reading | None:
        body = await self._pods.get(address, self._port, "/metrics")
        try:
            return None if body is None else parse(body.decode("utf-8", "replace"), self._clock())
        except (ValueError, IndexError):
            return None  # no exposition


def _value(line: str) -> float:
    return float(line.rsplit("}", 1)[-1].split()[0])
