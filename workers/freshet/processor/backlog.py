"""Events of a partition that Kafka has forgotten, from the event log, in the form in which Kafka gives them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor, Future

import numpy as np

from freshet.processor.records import Records
from freshet.stores.event_log import EventLog, Row, Status

_ROWS = 5_000
_BARE = (Status.INVALID, Status.ERASED, Status.REFUSED)


class Backlog:
    """Hands out records from `begin` until before `end`; reads one part ahead in another thread."""

    def __init__(self, events: EventLog, begin: int, end: int, revision: str, threads: Executor) -> None:
        """`revision` is namespace/featureset/revision: records that were replayed for others are left out."""
        self.end = end
        self._revision = revision
        self._parts = events.rows(begin, end, _ROWS)
        self._threads = threads
        self._next: Future[list[Row] | None] = threads.submit(self._read)

    @property
    def over(self) -> bool:
        """Whether everything was handed out."""
        return self._next.done() and self._next.exception() is None and self._next.result() is None

    def take(self) -> Records | None:
        """The next records if they are there; None otherwise. Raises HistoryDown."""
        if not self._next.done():
            return None
        rows = self._next.result()
        if rows is None:
            return None
        self._next = self._threads.submit(self._read)
        return to_records(rows, self._revision)

    def _read(self) -> list[Row] | None:
        return next(self._parts, None)


def to_records(rows: Sequence[Row], revision: str) -> Records:
    """Rows of the event log as records: what is no event any more, or not for this revision, only keeps its place."""
    kept = (None, revision)
    known = [i for i, row in enumerate(rows) if row.id_hash is not None and row.replay_for in kept]
    hashes = np.array([rows[i].id_hash for i in known], np.int64).view(np.uint64)
    skip = np.array([row.status in _BARE or row.replay_for not in kept for row in rows], np.bool_)
    erase = np.array([row.status == Status.CONTROL for row in rows], np.bool_)
    keys = [row.entity for row in rows]

    def key(i: int) -> bytes | None:
        found = keys[i]
        return None if found is None else found.encode()

    return Records(
        np.array([row.offset for row in rows], np.int64),
        np.array([row.broker_ms for row in rows], np.int64),
        [None if row.payload is None else row.payload.encode() for row in rows],
        key,
        skip=skip if skip.any() else None,
        erase=erase if erase.any() else None,
        known=(np.array(known, np.int64), hashes) if known else None,
    )
