"""What the recorder tells the world: metrics, readiness, conditions."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from freshet.recorder.holdings import Holdings, Key
from freshet.recorder.topic_watch import TopicWatch
from freshet.recorder.writer import Outcome
from freshet.runtime import metrics
from freshet.runtime.turns import Turns

log = logging.getLogger(__name__)

_UPDATE_MS = 250


class Report:
    """Read by the metrics thread, written by the main one."""

    def __init__(self, holdings: Holdings, topics: TopicWatch, turns: Turns) -> None:
        self._holdings = holdings
        self._topics = topics
        self._turns = turns
        self._updated_ms = 0
        self.database: str | None = "PostgreSQL was not asked yet"
        """Why the history database cannot be used."""
        self.wanted: tuple[str, ...] = ()
        """Topics to record."""
        self.member = False
        """Whether this process is in the consumer group: not once its session is lost, until it has joined anew."""
        self.configured = True
        """Whether the configuration was read."""
        self.checkpoints: dict[str, str] = {}
        """Partitions whose last checkpoint was not taken, and why."""
        self.missed: dict[str, int] = {}
        """Records that Kafka dropped before they were recorded, by `topic/partition`."""

    def ready(self) -> tuple[bool, dict[str, Any]]:
        """Whether it records every partition that it was given; names what is missing."""
        problem = self._turns.problem()
        waiting = dict(self._holdings.waiting)
        missing = [name for name in self.wanted if name not in self._topics.seen]
        details = {
            "history": self.database or "ok",
            "kafka": self._topics.problem or "ok",
            "topics_missing": missing,
            "partitions": sorted(f"{topic}/{p}" for topic, p in dict(self._holdings.owned)),
            "stopped": {f"{topic}/{p}": f"{w.reason}: {w.sentence}" for (topic, p), w in sorted(waiting.items())},
            "missed": self.missed,
            "checkpoints_missing": self.checkpoints,
            "paused": self._holdings.held,
            "group": "joined" if self.member else "not joined",
            "problem": problem,
        }
        usable = self.database is None and self._topics.problem is None and problem is None
        good = self.configured and usable and not waiting
        return good and (self.member or not self.wanted), details

    def failed(self, reason: str) -> None:
        """A partition has to be taken over again."""
        metrics.RECORDER_FAILURES.labels(reason).inc()

    def database_is(self, problem: str | None) -> None:
        """The history database can be used (None) or not, and why."""
        if problem != self.database:
            if problem is None:
                log.info("PostgreSQL can be used")
            else:
                log.warning("PostgreSQL cannot be used; recording waits and goes on later", extra={"error": problem})
        self.database = problem
        metrics.HISTORY_UP.set(problem is None)

    def jumped(self, key: Key, missed: int, offset: int) -> None:
        """Kafka has dropped records before they were recorded: history has a hole that nothing fills."""
        topic, partition = key
        metrics.RECORDER_MISSED.labels(topic).inc(missed)
        self.missed[f"{topic}/{partition}"] = self.missed.get(f"{topic}/{partition}", 0) + missed
        log.error(
            "records were dropped by Kafka's retention before they were recorded: history begins anew after them",
            extra={"topic": topic, "partition": partition, "missed": missed, "offset": offset},
        )

    def written(self, outcome: Outcome, seconds: float) -> None:
        """A transaction was committed."""
        metrics.RECORDER_TRANSACTION_SECONDS.observe(seconds)
        for table, count in outcome.rows.items():
            metrics.RECORDER_ROWS.labels(table).inc(count)
        for table, count in outcome.refused.items():
            metrics.RECORDER_REFUSED.labels(table).inc(count)

    def update(self, now_ms: int, log_end: Callable[[Key], int], is_member: Callable[[], bool]) -> None:
        """Sets the lag of every partition and looks at the group, about four times a second."""
        if now_ms - self._updated_ms < _UPDATE_MS:
            return
        self._updated_ms = now_ms
        self.member = is_member()
        for key, owned in self._holdings.owned.items():
            metrics.RECORDER_LAG.labels(key[0], str(key[1])).set(max(0, log_end(key) - owned.recorded))

    def dropped(self, key: Key) -> None:
        """Another recorder tells of this partition from now on."""
        try:
            metrics.RECORDER_LAG.remove(key[0], str(key[1]))
        except KeyError:
            log.debug("no lag was told of the partition")
