"""How many processors a FeatureSet has: up at once with lag, down slowly, as they are when nothing is known."""

from __future__ import annotations

import math
from dataclasses import dataclass

from freshet.spec.manifest import ProcessorModel
from freshet_operator.model import Object
from freshet_operator.plan.times import time_ms, time_text

CALM_MS = 300_000
"""How long fewer must have been enough before one goes."""
SETTLE_MS = 60_000
"""How long one that was added for busyness is given before another is."""
MOST_BUSY = 0.7
"""Share of time that the rest may be busy after one has gone."""
TOO_BUSY = 0.9
"""Share of time from which one more is needed whatever the lag."""
IDLE = 0.01
"""Below it, without lag, the last one may go where minReplicas is 0."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """The number and the memory that leads to the next one; kept in status.scaling."""

    replicas: int
    changed_ms: int | None = None
    calm_ms: int | None = None
    """Since when one fewer would do; None: it would not."""
    why: str = ""
    """Of a change, for people."""

    def memory(self) -> Object:
        """As status.scaling holds it."""
        found: Object = {"replicas": self.replicas}
        if self.changed_ms is not None:
            found["changedAt"] = time_text(self.changed_ms)
        if self.calm_ms is not None:
            found["calmSince"] = time_text(self.calm_ms)
        return found


def remembered(memory: Object | None, live: int | None) -> Scaling | None:
    """What status.scaling says, else what the live Deployment has; None for a new FeatureSet."""
    memory = memory if isinstance(memory, dict) else {}
    replicas = memory.get("replicas", live)
    if not isinstance(replicas, int) or isinstance(replicas, bool) or replicas < 0:
        return None
    return Scaling(replicas, time_ms(memory.get("changedAt")), time_ms(memory.get("calmSince")))


def bounds(processor: ProcessorModel, partitions: int) -> tuple[int, int]:
    """Least and most: a processor without a partition would do nothing."""
    return min(processor.minReplicas, partitions), min(processor.maxReplicas, partitions)


def scale(
    processor: ProcessorModel,
    partitions: int,
    before: Scaling | None,
    settled: bool,
    lag: int | None,
    busy: float | None,
    now_ms: int,
) -> Scaling:
    """The number of processors from now on.

    `settled`: all that were asked for work; before that, lag says nothing about their number. `busy` is of the busiest.
    """
    low, high = bounds(processor, partitions)
    if before is None:
        return Scaling(max(low, min(1, high)), now_ms)
    current = before.replicas
    if not low <= current <= high:
        allowed = f"minReplicas {processor.minReplicas}, maxReplicas {processor.maxReplicas}, {partitions} partitions"
        return Scaling(max(low, min(high, current)), now_ms, None, allowed)
    by_lag = None if lag is None else min(high, max(low, math.ceil(lag / processor.targetLag)))
    if by_lag is not None and by_lag > current and (settled or current == 0):
        return Scaling(by_lag, now_ms, None, f"{lag} events wait, targetLag is {processor.targetLag}")
    rested = before.changed_ms is None or now_ms - before.changed_ms >= SETTLE_MS
    if busy is not None and busy > TOO_BUSY and current < high and settled and rested:
        return Scaling(current + 1, now_ms, None, f"the busiest processor computes {busy:.0%} of its time")
    if current > low and _fewer_would_do(current, by_lag, lag, busy):
        return _down(before, now_ms)
    return Scaling(current, before.changed_ms, None)


def _fewer_would_do(current: int, by_lag: int | None, lag: int | None, busy: float | None) -> bool:
    if by_lag is None or busy is None or by_lag >= current:
        return False
    if current == 1:
        return lag == 0 and busy < IDLE
    return busy * current / (current - 1) < MOST_BUSY


def _down(before: Scaling, now_ms: int) -> Scaling:
    since = now_ms if before.calm_ms is None else min(before.calm_ms, now_ms)
    if now_ms - since < CALM_MS:
        return Scaling(before.replicas, before.changed_ms, since)
    return Scaling(before.replicas - 1, now_ms, None, f"{before.replicas - 1} have been enough for 5 minutes")
