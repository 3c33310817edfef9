"""From records in memory to transactions: one on its way, the next being gathered, and never more than that."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass

from freshet.recorder import marked
from freshet.recorder.batch import Batch
from freshet.recorder.database import Database
from freshet.recorder.fence import Step
from freshet.recorder.holdings import Holdings, Key, Owned
from freshet.recorder.judge import Part as Where
from freshet.recorder.plan import Plan
from freshet.recorder.rows import EventRows, VectorRows
from freshet.recorder.topics import Role
from freshet.recorder.writer import Outcome, Part
from freshet.runtime import metrics

log = logging.getLogger(__name__)

_LINGER_MS = 100
"""How long records wait for those that other brokers deliver at about the same time."""
_EVERY_MS = 1_000
"""Between the beginnings of small transactions: history need not be fresher, and one of ten rows costs nearly as much
as one of a thousand, here and in PostgreSQL."""
_ROWS = 10_000
_BYTES = 8 << 20
"""What makes a transaction worth its while at once."""
_WORTH_A_LOOK = 256
"""Records of a partition that are looked at at once. Fewer wait for their transaction, as a look at ten costs nearly
what one at a hundred does; but if all of a backlog waited, PostgreSQL would be idle meanwhile."""
_MOST_ROWS = 40_000
_MOST_BYTES = 32 << 20
"""What is gathered at most while a transaction is on its way; beyond it Kafka keeps the records."""
_PATIENCE_SECONDS = 2.0
"""How long a full memory is waited for without polling; then the partitions are paused, so that polling can go on."""


@dataclass(frozen=True, slots=True)
class Done:
    """A transaction that was committed."""

    outcome: Outcome
    fenced: list[Owned]
    """Partitions that belong to another owner by now."""
    seconds: float


@dataclass(frozen=True, slots=True)
class _Flight:
    owned: list[Owned]
    steps: list[Step]
    future: Future[Outcome]
    began: float


class Flow:
    """Rows of all owned partitions."""

    def __init__(self, holdings: Holdings, io: Executor, database: Database, plan: Callable[[], Plan]) -> None:
        """`plan` gives the configuration that is in use."""
        self._holdings = holdings
        self._plan = plan
        self._io = io
        self._database = database
        self._flight: _Flight | None = None
        self._due_ms: int | None = None
        """When to begin the next transaction; None: there is nothing for it."""
        self._next_ms = 0
        """When it may begin, had it few rows."""
        self._committable: dict[Key, int] = {}

    def take(self, owned: Owned, batch: Batch, now_ms: int) -> None:
        """Takes the next records of a partition."""
        owned.take(batch)
        if sum(map(len, owned.gathered)) >= _WORTH_A_LOOK:
            self._look(owned)
        self._is_wanted(now_ms)

    def ended(self, owned: Owned, offset: int, now_ms: int) -> None:
        """The partition's log ends there, maybe beyond its last record: control records have offsets too."""
        if offset > owned.position:
            owned.position = offset
            self._is_wanted(now_ms)

    def _is_wanted(self, now_ms: int) -> None:
        """There is something for the next transaction."""
        if self._due_ms is None:
            self._due_ms = max(now_ms + _LINGER_MS, self._next_ms)

    def _look(self, owned: Owned) -> None:
        """Makes rows of what was gathered."""
        if not owned.gathered:
            return
        batch, owned.gathered = Batch.joined(owned.gathered), []
        if owned.role is Role.EVENTS:
            assert owned.judge is not None, "made at the take-over"
            assert owned.duplicates is not None, "made at the take-over"
            judged = owned.judge.judge(batch, Where(owned.place.partition, owned.partitions), owned.duplicates)
            owned.rows.append(EventRows.of(owned.place, batch, judged))
            owned.also += marked.of_events(owned.place, batch)
        elif owned.role is Role.VECTORS:
            rows, others = VectorRows.of(owned.place, batch, self._plan().sources)
            owned.rows.append(rows)
            self._not_vectors(owned, others)
        else:
            owned.also += marked.of_letters(batch, self._plan().key_fields)

    def _not_vectors(self, owned: Owned, count: int) -> None:
        if count:
            metrics.RECORDER_REFUSED.labels(owned.role.value).inc(count)
            log.warning(
                "records of an output topic are no feature vectors; they are left out",
                extra={"topic": owned.place.topic, "partition": owned.place.partition, "records": count},
            )

    def has_room(self) -> bool:
        """Whether more records may come into memory."""
        rows, size = self._waiting()
        return rows < _MOST_ROWS and size < _MOST_BYTES

    def _waiting(self) -> tuple[int, int]:
        """Records and their bytes that are in no transaction yet."""
        every = self._holdings.owned.values()
        return sum(owned.pending_rows for owned in every), sum(owned.pending_bytes for owned in every)

    def wait_for_room(self, stop: threading.Event) -> None:
        """Until the transaction has ended, for a while."""
        end = time.monotonic() + _PATIENCE_SECONDS
        while self._flight is not None and not self._flight.future.done() and not stop.is_set():
            if time.monotonic() > end:
                return
            self.wait(0.1)

    def wait(self, seconds: float) -> None:
        """Until the transaction on its way has ended, if there is one."""
        if self._flight is not None:
            wait([self._flight.future], max(0.0, seconds))

    def patience(self, now_ms: int) -> float:
        """Seconds to wait for records while there are none."""
        if self._due_ms is None:
            return 0.1
        least = 0.0 if self._flight is None else 0.01
        return min(0.1, max(least, (self._due_ms - now_ms) / 1000))

    def pending(self, keys: Iterable[Key]) -> bool:
        """Whether something of these partitions is not recorded yet."""
        owned = [self._holdings.owned[key] for key in keys if key in self._holdings.owned]
        flying = self._flight is not None and any(one in self._flight.owned for one in owned)
        return flying or any(one.position > one.recorded for one in owned)

    def step(self, now_ms: int, *, hurry: bool = False) -> Done | None:
        """Collects a finished transaction, begins one that is due. Raises HistoryDown for one that failed."""
        done = self._collect()
        if self._flight is None:
            due = self._due_ms is not None and now_ms >= self._due_ms
            rows, size = self._waiting()
            much = rows >= _ROWS or size >= _BYTES
            if hurry or due or much:
                self._next_ms = now_ms if much else now_ms + _EVERY_MS
                self._begin()
        return done

    def committable(self) -> dict[Key, int]:
        """Offsets recorded since this was asked last."""
        found, self._committable = self._committable, {}
        return {key: offset for key, offset in found.items() if key in self._holdings.owned}

    def _begin(self) -> None:
        self._due_ms = None
        moved = [owned for owned in self._holdings.owned.values() if owned.position > owned.recorded]
        if not moved:
            return
        for owned in moved:
            self._look(owned)
        parts = [Part(owned.step(), owned.rows, owned.also) for owned in moved]
        for owned in moved:
            owned.sent()
        future = self._io.submit(self._database.write, parts)
        self._flight = _Flight(moved, [part.step for part in parts], future, time.perf_counter())

    def _collect(self) -> Done | None:
        flight = self._flight
        if flight is None or not flight.future.done():
            return None
        self._flight = None
        outcome = flight.future.result()
        fenced = []
        for owned, step, good in zip(flight.owned, flight.steps, outcome.done, strict=True):
            if good:
                self._committable[owned.key] = step.end
                self._holdings.recorded(owned.key)
            else:
                fenced.append(owned)
        return Done(outcome, fenced, time.perf_counter() - flight.began)
