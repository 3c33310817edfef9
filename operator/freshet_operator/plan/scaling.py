"""How many processors a FeatureSet has: up in steps while lag stays, down slowly, as they are when nothing is known.

A processor works off 100,000 events a second and more: a burst that is gone sooner than a new pod has started is no
reason for one. At most twice as many a step, so that a backlog does not fill a small cluster at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from freshet.spec.manifest import ProcessorModel
from freshet_operator.model import Object
from freshet_operator.plan.times import time_ms, time_text

CALM_MS = 300_000
"""How long fewer must have been enough before one goes."""
MORE_MS = 60_000
"""How long more must have been needed, look after look, before more come; counted anew after each step."""
MOST_BUSY = 0.7
"""Share of time that the rest may be busy after one has gone."""
TOO_BUSY = 0.9
"""Share of time from which one more is needed whatever the lag."""
TIMERS = ("calmSince", "shortSince")
"""In status.scaling: since when fewer would do, since when more are needed."""
IDLE = 0.01
"""Below it, without lag, the last one may go where minReplicas is 0."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """The number and the memory that leads to the next one; kept in status.scaling."""

    replicas: int
    changed_ms: int | None = None
    calm_ms: int | None = None
    """Since when one fewer would do; None: it would not."""
    short_ms: int | None = None
    """Since when more are needed; None: they are not."""
    why: str = ""
    """Of a change, for people."""

    def memory(self) -> Object:
        """As status.scaling holds it."""
        found: Object = {"replicas": self.replicas}
        if self.changed_ms is not None:
            found["changedAt"] = time_text(self.changed_ms)
        if self.calm_ms is not None:
            found["calmSince"] = time_text(self.calm_ms)
        if self.short_ms is not None:
            found["shortSince"] = time_text(self.short_ms)
        return found


def remembered(memory: Object | None, live: int | None) -> Scaling | None:
    """What status.scaling says, else what the live Deployment has; None for a new FeatureSet."""
    memory = memory if isinstance(memory, dict) else {}
    replicas = memory.get("replicas", live)
    if not isinstance(replicas, int) or isinstance(replicas, bool) or replicas < 0:
        return None
    changed, calm, short = (time_ms(memory.get(name)) for name in ("changedAt", *TIMERS))
    return Scaling(replicas, changed, calm, short)


def bounds(processor: ProcessorModel, partitions: int) -> tuple[int, int]:
    """Least and most: a processor without a partition would do nothing."""
    return min(processor.minReplicas, partitions), min(processor.maxReplicas, partitions)


def scale(
    processor: ProcessorModel,
    partitions: int,
    before: Scaling | None,
    now_ms: int,
    *,
    settled: bool,
    built: bool,
    lag: int | None,
    busy: float | None,
) -> Scaling:
    """The number of processors from now on.

    `settled`: all that were asked for work; before that, lag says nothing about their number. `built`: all partitions
    are complete; a backfill's lag is the whole log, and says nothing of what the traffic needs. `busy` is of the
    busiest.
    """
    low, high = bounds(processor, partitions)
    if before is None:
        return Scaling(max(low, min(1, high)), now_ms)
    current = before.replicas
    if not low <= current <= high:
        allowed = f"minReplicas {processor.minReplicas}, maxReplicas {processor.maxReplicas}, {partitions} partitions"
        return Scaling(max(low, min(high, current)), now_ms, why=allowed)
    if current == 0:
        return Scaling(1, now_ms, why=f"{lag} events wait") if lag else Scaling(0, before.changed_ms)
    by_lag = None if lag is None else min(high, max(low, math.ceil(lag / processor.targetLag)))
    if not built:
        return Scaling(current, before.changed_ms)
    if by_lag is not None and by_lag > current:
        why = f"{lag} events wait and have for {MORE_MS // 1000} s, targetLag is {processor.targetLag}"
        return _up(before, min(by_lag, 2 * current), settled, why, now_ms)
    if busy is not None and busy > TOO_BUSY and current < high:
        why = f"the busiest processor computes {busy:.0%} of its time"
        return _up(before, current + 1, settled, why, now_ms)
    if current > low and _fewer_would_do(current, by_lag, lag, busy):
        return _down(before, now_ms)
    return Scaling(current, before.changed_ms)


def _up(before: Scaling, wanted: int, settled: bool, why: str, now_ms: int) -> Scaling:
    """More, once it was needed for a while and those that were asked for before have had their chance."""
    since = now_ms if before.short_ms is None else min(before.short_ms, now_ms)
    if not settled or now_ms - since < MORE_MS:
        return Scaling(before.replicas, before.changed_ms, short_ms=since)
    return Scaling(wanted, now_ms, why=why)


def _fewer_would_do(current: int, by_lag: int | None, lag: int | None, busy: float | None) -> bool:
    if by_lag is None or busy is None or by_lag >= current:
        return False
    if current == 1:
        return lag == 0 and busy < IDLE
    return busy * current / (current - 1) < MOST_BUSY


def _down(before: Scaling, now_ms: int) -> Scaling:
    since = now_ms if before.calm_ms is None else min(before.calm_ms, now_ms)
    if now_ms - since < CALM_MS:
        return Scaling(before.replicas, before.changed_ms, calm_ms=since)
    return Scaling(before.replicas - 1, now_ms, why=f"{before.replicas - 1} have been enough for 5 minutes")
