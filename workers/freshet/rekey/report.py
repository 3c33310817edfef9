"""What the stage tells the world: metrics, readiness, conditions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from freshet.engine.rekeying import Fate
from freshet.rekey.partitions import Partitions
from freshet.runtime import metrics
from freshet.runtime.turns import Turns
from freshet.spec.definition import Source

_UPDATE_MS = 250


class Counts:
    """Of one transaction: they count once it is committed."""

    __slots__ = ("copied", "lost", "oldest_ms", "skipped")

    def __init__(self) -> None:
        self.copied: Counter[Fate] = Counter()
        self.skipped: Counter[Fate] = Counter()
        self.lost = 0
        self.oldest_ms: int | None = None
        """Broker time in the origin of the first copy."""

    def add(self, fate: Fate, broker_ms: int) -> None:
        """A copy."""
        self.copied[fate] += 1
        if self.oldest_ms is None:
            self.oldest_ms = broker_ms


class Report:
    """Of one derived topic."""

    def __init__(self, source: Source, partitions: Partitions, turns: Turns) -> None:
        self._turns = turns
        self._topic, self._origin = source.topic, source.origin
        self._partitions = partitions
        self._updated_ms = 0
        self._lags: dict[int, int] = {}
        self._reasons: set[str] = set()
        self.problem: str | None = None
        """Why nothing is copied at all."""
        self.member = False
        """Whether this process is in the consumer group."""

    def ready(self) -> tuple[bool, dict[str, Any]]:
        """Whether it is in the group and copies every partition that it was given; names what is not so."""
        problem = self.problem or self._turns.problem()
        waiting = {
            str(p): f"{w.reason}: {w.sentence}" if w.reason else "begins"
            for p, w in sorted(self._partitions.waiting.copy().items())
        }
        details = {
            "origin": self._origin,
            "topic": self._topic,
            "partitions": sorted(self._partitions.running.copy()),
            "stopped": waiting,
            "lag": {str(p): lag for p, lag in sorted(self._lags.copy().items())},
            "group": "joined" if self.member else "not joined",
            "problem": problem,
        }
        return problem is None and not waiting and self.member, details

    def committed(self, counts: Counts, seconds: float, now_ms: int) -> None:
        """A transaction with these copies was committed."""
        topic = self._topic
        copied, skipped = counts.copied.total(), counts.skipped.total()
        metrics.REKEY_READ.labels(topic).inc(copied + skipped + counts.lost)
        for fate, count in counts.copied.items():
            metrics.REKEY_WRITTEN.labels(topic, fate.value).inc(count)
        for fate, count in counts.skipped.items():
            metrics.REKEY_SKIPPED.labels(topic, fate.value).inc(count)
        metrics.REKEY_LOST.labels(topic).inc(counts.lost)
        metrics.REKEY_TRANSACTIONS.labels(topic, "committed").inc()
        metrics.REKEY_TRANSACTION_SECONDS.labels(topic).observe(seconds)
        if counts.oldest_ms is not None:
            metrics.REKEY_DELAY_SECONDS.labels(topic).observe(max(0, now_ms - counts.oldest_ms) / 1000)

    def aborted(self) -> None:
        """A transaction was undone, or could not be begun."""
        metrics.REKEY_TRANSACTIONS.labels(self._topic, "aborted").inc()

    def update(self, now_ms: int, end_of: Callable[[int], int]) -> None:
        """Lag of each partition and what is stopped, about four times a second; what is no longer ours is not shown."""
        if abs(now_ms - self._updated_ms) < _UPDATE_MS:
            return
        self._updated_ms = now_ms
        running, waiting = self._partitions.running, self._partitions.waiting
        for partition, one in running.items():
            lag = self._lags[partition] = max(0, end_of(partition) - one.committed)
            metrics.REKEY_LAG.labels(self._topic, str(partition)).set(lag)
        for partition in self._lags.keys() - running.keys() - waiting.keys():
            metrics.REKEY_LAG.remove(self._topic, str(partition))
            del self._lags[partition]
        stopped = Counter(one.reason for one in waiting.values() if one.reason)
        self._reasons |= stopped.keys()
        for reason in self._reasons:
            metrics.REKEY_STOPPED.labels(self._topic, reason).set(stopped[reason])
