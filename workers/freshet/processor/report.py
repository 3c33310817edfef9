"""What the processor tells the world: metrics, readiness, conditions."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaError

from freshet.processor.assignment import Assignment
from freshet.processor.counts import Counts
from freshet.processor.rebuild import Rebuild, sentence
from freshet.processor.runner import Flushed
from freshet.processor.source import SourceWatch
from freshet.runtime import metrics
from freshet.runtime.turns import Turns
from freshet.spec.definition import FeatureSet

log = logging.getLogger(__name__)

_UPDATE_MS = 250
_TELL_MS = 10_000


class Report:
    """Collects counts of all owned partitions into metrics."""

    def __init__(self, featureset: FeatureSet, assignment: Assignment, source: SourceWatch, turns: Turns) -> None:
        self._name = featureset.name
        self._assignment = assignment
        self._source = source
        self._turns = turns
        self._updated_ms = 0
        self._shown: set[int] = set()
        self._reasons: set[str] = set()
        self._rebuilding: dict[int, dict[str, Any]] = {}
        self._told_ms = 0
        self._lags: dict[int, int] = {}
        self.counts = Counts()
        """Shared by the owners of all partitions."""
        self.problem: str | None = None
        """Why nothing is processed at all."""
        self.member = False
        """Whether this process is in the consumer group: it does its part then, even with no partition."""
        self.busy_seconds = 0.0
        """Time since the last update that the main loop did not wait for events."""

    def ready(self) -> tuple[bool, dict[str, Any]]:
        """Whether it is in the group and works on every partition that it was given; names what is not so.

        One process more than there are partitions has none, and is ready to take some.
        """
        problem = self.problem or self._turns.problem() or self._source.problem
        waiting = {str(p): f"{w.reason}: {w.sentence}" for p, w in sorted(self._assignment.waiting.items())}
        runners = dict(self._assignment.runners)
        details = {
            "featureset": self._name,
            "partitions": sorted(runners),
            "rebuilding": {str(p): one for p, one in sorted(self._rebuilding.items())},
            "stopped": waiting,
            "lag": {str(p): lag for p, lag in sorted(self._lags.copy().items())},
            "group": "joined" if self.member else "not joined",
            "kafka": self._source.away or "ok",
            "problem": problem,
        }
        return problem is None and not waiting and self.member, details

    def computed(self, seconds: float) -> None:
        """A batch was taken into memory."""
        metrics.FEATURE_COMPUTATION_SECONDS.labels(self._name).observe(seconds)

    def flushed(self, done: Flushed) -> None:
        """A flush was acknowledged."""
        metrics.FLUSH_SECONDS.labels(self._name).observe(done.seconds)
        if done.freshness_ms is not None:
            metrics.FRESHNESS_SECONDS.labels(self._name).observe(done.freshness_ms / 1000)

    def kafka_error(self, error: KafkaError) -> None:
        """The client reports a problem that it goes on from by itself."""
        log.warning("Kafka reports a problem", extra={"code": error.name(), "error": error.str()})

    def update(self, now_ms: int, log_end: Callable[[int], int], is_member: Callable[[], bool]) -> None:
        """Moves the counts into the metrics and looks at the group, about four times a second."""
        if abs(now_ms - self._updated_ms) < _UPDATE_MS:
            return
        self._updated_ms = now_ms
        self.member = is_member()
        self._show_partitions(log_end)
        self._look_at_rebuilding(now_ms)
        counts, name = self.counts, self._name
        metrics.PROCESSOR_BUSY_SECONDS.labels(name).inc(self.busy_seconds)
        self.busy_seconds = 0.0
        metrics.EVENTS_PROCESSED.labels(name).inc(counts.processed)
        metrics.EVENTS_DUPLICATE.labels(name).inc(counts.duplicates)
        metrics.EVENTS_LATE.labels(name).inc(counts.late)
        metrics.EVENTS_CLAMPED.labels(name).inc(counts.clamped)
        metrics.EVENTS_TOO_LATE.labels(name).inc(counts.too_late)
        metrics.EVENTS_OUTSIDE_SESSIONS.labels(name).inc(counts.left_out_of_sessions)
        metrics.ENTITIES_COARSENED.labels(name).inc(counts.coarser)
        metrics.ENTITIES_ERASED.labels(name).inc(counts.erased)
        metrics.FEATURE_VECTORS.labels(name).inc(counts.vectors)
        metrics.EXPRESSION_NULLS.labels(name).inc(counts.nulls)
        metrics.CACHE_HITS.labels(name).inc(counts.hits)
        metrics.CACHE_MISSES.labels(name).inc(counts.misses)
        for reason, count in counts.rejected.items():
            metrics.EVENTS_FAILED.labels(name, reason.value).inc(count)
        counts.clear()

    def _show_partitions(self, log_end: Callable[[int], int]) -> None:
        """Lag of each partition, and how many are not complete or stopped; what is no longer ours is not shown."""
        runners, waiting = self._assignment.runners, self._assignment.waiting
        for partition, runner in runners.items():
            lag = max(0, log_end(partition) - runner.owner.position)
            self._lags[partition] = lag
            metrics.PARTITION_LAG.labels(self._name, str(partition)).set(lag)
        ours = {*runners, *waiting, *self._assignment.rebuilding}
        for partition in self._shown - ours:
            metrics.PARTITION_LAG.remove(self._name, str(partition))
            self._lags.pop(partition, None)
        self._shown = ours & (self._shown | runners.keys())
        rebuilding = sum(not runner.owner.complete for runner in runners.values()) + len(self._assignment.rebuilding)
        metrics.PARTITIONS_REBUILDING.labels(self._name).set(rebuilding)
        stopped = Counter(one.reason for one in waiting.values())
        self._reasons |= stopped.keys()
        for reason in self._reasons:
            metrics.PARTITIONS_STOPPED.labels(self._name, reason).set(stopped[reason])

    def _look_at_rebuilding(self, now_ms: int) -> None:
        """Partitions that are not complete: how far they are and how long it will take."""
        found: dict[int, dict[str, Any]] = {}
        parts: list[tuple[int, Rebuild, int | None]] = [
            (p, taking.rebuild, None) for p, taking in self._assignment.rebuilding.items()
        ]
        parts += [(p, r.rebuild, r.owner.position) for p, r in self._assignment.runners.items() if not r.owner.complete]
        for p, rebuild, position in parts:
            ratio = rebuild.ratio(position)
            eta = rebuild.eta_seconds(now_ms, ratio)
            found[p] = {
                "progress": round(ratio, 4),
                "eta_seconds": None if eta is None else round(eta, 1),
                "sentence": sentence(p, ratio, eta, rebuild.waits_for),
            }
            metrics.REBUILD_RATIO.labels(self._name, str(p)).set(ratio)
            metrics.REBUILD_ETA.labels(self._name, str(p)).set(math.nan if eta is None else eta)
        for p in self._rebuilding.keys() - found.keys():
            metrics.REBUILD_RATIO.remove(self._name, str(p))
            metrics.REBUILD_ETA.remove(self._name, str(p))
        self._rebuilding = found
        if found and now_ms - self._told_ms >= _TELL_MS:
            self._told_ms = now_ms
            for one in found.values():
                log.info(one["sentence"])
