"""When checkpoints are taken: one partition at a time, each every few minutes, in a thread of its own."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple
from uuid import UUID

from freshet.engine.layout import LayoutError
from freshet.recorder.checkpoints import Checkpointer, NotYet, Taken
from freshet.runtime import metrics
from freshet.runtime.clock import now_ms
from freshet.spec import naming
from freshet.spec.definition import FeatureSet
from freshet.stores.online_view import Moved
from freshet.stores.postgres import HistoryDown
from freshet.stores.redis import Client, StoreDown, connect
from freshet.stores.states import Stale, States, Writer

log = logging.getLogger(__name__)

_AGAIN_MS = 5_000
_EXPIRE_MS = 3_600_000
_Failures = (NotYet, Moved, Stale, StoreDown, HistoryDown, LayoutError)


class Job(NamedTuple):
    """One partition of one revision."""

    featureset: FeatureSet
    partition: int
    topic_id: UUID
    by_changes: bool
    """Whether the event log tells which entities had events; else all states are copied."""


class _Key(NamedTuple):
    owner: str
    partition: int


class Rounds:
    """Takes checkpoints of the partitions that this process records; any number of recorders may do it at once."""

    def __init__(self, database: str, store: str, namespace: str, every_seconds: float) -> None:
        """`database` and `store` are URLs; `namespace` is that of FeatureSets that name none."""
        self._states = States(database)
        self._database = database
        self._store = store
        self._namespace = namespace
        self._every_ms = int(every_seconds * 1000)
        self._thread = ThreadPoolExecutor(1, "checkpoints")
        self._running: tuple[_Key, Future[Taken | None]] | None = None
        self._due: dict[_Key, int] = {}
        self._expire_at: dict[_Key, int] = {}
        self._takers: dict[str, Checkpointer] = {}
        self._client: Client | None = None
        self._writer: Writer | None = None
        self._problems: dict[_Key, str] = {}

    def step(self, jobs: Iterable[Job], steady_ms: int) -> None:
        """Begins the checkpoint that is due longest; never waits. `jobs` are what this process has to care for."""
        if self._running is not None:
            key, running = self._running
            if not running.done():
                return
            self._running = None
            self._done(key, running, steady_ms)
        wanted = {self._key(job): job for job in jobs}
        for gone in self._due.keys() - wanted.keys():
            del self._due[gone]
            self._problems.pop(gone, None)
        for key in wanted:
            self._due.setdefault(key, steady_ms)
        key = min(self._due, key=lambda k: self._due[k], default=_Key("", -1))
        if key in wanted and self._due[key] <= steady_ms:
            expire = now_ms() if steady_ms >= self._expire_at.get(key, 0) else None
            if expire is not None:
                self._expire_at[key] = steady_ms + _EXPIRE_MS
            self._running = (key, self._thread.submit(self._take, key, wanted[key], expire))

    def problems(self) -> dict[str, str]:
        """Partitions whose last checkpoint was not taken, and why."""
        return {f"{key.owner}/{key.partition}": why for key, why in sorted(self._problems.items())}

    def close(self) -> None:
        """Waits for what is under way."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._disconnect()

    def _key(self, job: Job) -> _Key:
        fs = job.featureset
        owner = naming.owner(fs.namespace or self._namespace, fs.name, fs.definition.revision)
        if owner not in self._takers or self._takers[owner].featureset is not fs:
            self._takers[owner] = Checkpointer(fs, owner, self._connected, self._database)
        return _Key(owner, job.partition)

    def _connected(self) -> Client:
        if self._client is None:
            self._client = connect(self._store)
        return self._client

    def _take(self, key: _Key, job: Job, expire_ms: int | None) -> Taken | None:
        if self._writer is None:
            self._writer = self._states.writer()
        taken = self._takers[key.owner].take(self._writer, job.topic_id, job.partition, by_changes=job.by_changes)
        if expire_ms is not None:
            self._writer.remove_expired((key.owner, key.partition), expire_ms)
        return taken

    def _done(self, key: _Key, running: Future[Taken | None], steady_ms: int) -> None:
        featureset = key.owner.split("/")[1]
        try:
            taken = running.result()
        except _Failures as error:
            metrics.CHECKPOINT_FAILURES.labels(featureset, type(error).__name__).inc()
            self._due[key] = steady_ms + min(_AGAIN_MS, self._every_ms)
            if isinstance(error, StoreDown | HistoryDown):
                self._disconnect()
            if self._problems.get(key) != str(error):
                self._problems[key] = str(error)
                about = {"partition": key.partition, "revision": key.owner, "reason": str(error)}
                log.log(logging.INFO if isinstance(error, NotYet) else logging.WARNING, "no checkpoint", extra=about)
            return
        self._problems.pop(key, None)
        self._due[key] = steady_ms + self._every_ms
        metrics.CHECKPOINT_TIME.labels(featureset, str(key.partition)).set(now_ms() / 1000)
        if taken is not None:
            metrics.CHECKPOINTED_STATES.labels(featureset).inc(taken.states)
            log.info("checkpoint taken", extra={"partition": key.partition, "revision": key.owner, **taken._asdict()})

    def _disconnect(self) -> None:
        if self._writer is not None:
            self._writer.close()
        if self._client is not None:
            self._client.close()
        self._writer = self._client = None
