"""One owned partition at run time: when to flush, when to check, what to do while scripts are on their way."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass

from freshet.processor.backlog import Backlog
from freshet.processor.partition import Flush, PartitionOwner
from freshet.processor.rebuild import Rebuild
from freshet.stores.deliveries import Continuity
from freshet.stores.fence import Script


@dataclass(frozen=True, slots=True)
class Pace:
    """When dirty states are written."""

    coalesce_ms: int = 0
    """How long a dirty state waits for more events when the partition is caught up: freshness pays for it."""
    behind_share: float = 0.25
    """The same while there is a backlog, as a share of its age: what is read is late by the age anyway, and fewer
    writes and vectors of hot entities make it shrink faster."""
    behind_longest_ms: int = 10_000
    """But no longer than so: it is what a new owner has to do again."""
    check_ms: int = 500
    """Longest time without a look at `progress` (design §6.6: at least once a second)."""

    def wait_ms(self, age_ms: int | None) -> int:
        """How long dirty states wait; `age_ms` is the age of the backlog, None without one."""
        if age_ms is None:
            return self.coalesce_ms
        return max(self.coalesce_ms, min(int(self.behind_share * age_ms), self.behind_longest_ms))


@dataclass(frozen=True, slots=True)
class Flushed:
    """A flush that was acknowledged."""

    entities: int
    seconds: float
    freshness_ms: int | None
    """From the broker's time of its oldest event until it was readable."""


class Runner:
    """Drives one PartitionOwner; all store calls go through `io`, one thread that keeps their order."""

    def __init__(
        self,
        owner: PartitionOwner,
        io: Executor,
        pace: Pace,
        rebuild: Rebuild,
        continuity: Continuity,
        backlog: Backlog | None = None,
    ) -> None:
        self.owner = owner
        self.continuity = continuity
        """Says which deliveries of Kafka are to be believed."""
        self.rebuild = rebuild
        """How far it is until `owner` is complete."""
        self.backlog = backlog
        """Events to be taken before those of Kafka."""
        self.acknowledged: int | None = None
        """The offset in `progress` after the last flush, once; None if nothing moved since it was asked."""
        self._io = io
        self._pace = pace
        self._flush: Flush | None = None
        self._began_ms = 0
        self._sending: Future[None] | None = None
        self._checking: Future[None] | None = None
        self._contact_ms = 0
        self._waiting_since_ms: int | None = None
        self._newest_broker_ms = 0

    def taken(self, now_ms: int, newest_broker_ms: int) -> None:
        """The owner took records into memory, the last of which the broker stamped so."""
        self._newest_broker_ms = newest_broker_ms
        if self._waiting_since_ms is None:
            self._waiting_since_ms = now_ms

    def wait_ms(self, now_ms: int, *, behind: bool) -> int:
        """How long dirty states and due vectors wait for more events."""
        return self._pace.wait_ms(now_ms - self._newest_broker_ms if behind else None)

    def step(self, now_ms: int, *, behind: bool, hurry: bool = False) -> Flushed | None:
        """Collects a finished flush, begins one that is due, checks `progress` while idle.

        Raises Refused, StoreDown, StoreFull or OutputFailed; the owner is then to be thrown away.
        """
        done = self._collect(now_ms)
        if self._sending is None and self.owner.wants_flush():
            wait = self.wait_ms(now_ms, behind=behind)
            since = now_ms if self._waiting_since_ms is None else self._waiting_since_ms
            if hurry or now_ms - since >= wait or self._waiting_since_ms is None:
                self._begin(now_ms)
        if self._sending is None and self._checking is None and now_ms - self._contact_ms >= self._pace.check_ms:
            self._checking = self._io.submit(self.owner.fence.check)
        return done

    @property
    def busy(self) -> bool:
        """Whether something is on its way or waits to be written soon."""
        return self._sending is not None or self._waiting_since_ms is not None

    def _collect(self, now_ms: int) -> Flushed | None:
        if self._checking is not None and self._checking.done():
            checking, self._checking = self._checking, None
            self._contact_ms = now_ms
            checking.result()
        if self._sending is None or not self._sending.done():
            return None
        sending, self._sending = self._sending, None
        sending.result()
        assert self._flush is not None
        flush, self._flush = self._flush, None
        self._contact_ms = now_ms
        self.acknowledged = flush.offset
        self.owner.flushed()
        oldest = flush.oldest_broker_ms
        return Flushed(
            flush.entities, (now_ms - self._began_ms) / 1000, None if oldest is None else max(0, now_ms - oldest)
        )

    def _begin(self, now_ms: int) -> None:
        self._waiting_since_ms = None
        flush = self.owner.begin_flush(now_ms)
        if flush is not None:
            self._flush, self._began_ms = flush, now_ms
            self._sending = self._io.submit(self._send, flush.scripts)

    def _send(self, scripts: Sequence[Script]) -> None:
        for script in scripts:
            self.owner.fence.send(script)
