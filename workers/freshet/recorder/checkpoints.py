"""Checkpoints: what the online store holds, copied to the history database every few minutes (decision 8).

They are read from the store, from outside: processors know nothing of them. A checkpoint at offset O is a function of
the log, whoever wrote it, so two recorders that take the same one at the same time do no harm: one of them is too late.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple
from uuid import UUID

import numpy as np

from freshet.engine.layout import Layout
from freshet.spec import naming
from freshet.spec.definition import FeatureSet
from freshet.spec.lifetime import state_ttl_ms
from freshet.stores.event_log import EventLog
from freshet.stores.online_view import Marks, OnlineView
from freshet.stores.redis import Client
from freshet.stores.states import Checkpoint, Delta, StoredState, Writer
from freshet.stores.topics import topic_uuid

_KEYS = 200
"""States of one MGET: it blocks the store for about 0.2 ms."""
_BEHIND_SECONDS = 3.0
"""Longest wait for the event log, which is about a second behind while events come."""


class NotYet(Exception):
    """A checkpoint of the partition makes no sense at the moment; says why."""


class Taken(NamedTuple):
    """What a checkpoint did."""

    offset: int
    states: int
    removed: int
    everything: bool
    seconds: float


class Checkpointer:
    """Takes checkpoints of one revision's partitions, one at a time."""

    def __init__(self, featureset: FeatureSet, owner: str, client: Callable[[], Client], database: str) -> None:
        """`owner` is namespace/featureset/revision; `client` gives the connection to the online store."""
        self.featureset = featureset
        self._layout = Layout(featureset.definition)
        self._ttl_ms = state_ttl_ms(featureset)
        self._client = client
        self._database = database
        self._names = (owner.split("/")[0], featureset.name, featureset.definition.revision)
        self._owner = owner

    def take(self, writer: Writer, topic_id: UUID, partition: int, *, by_changes: bool = True) -> Taken | None:
        """Takes a checkpoint of one partition of the topic with this id; None if the newest one holds everything.

        `by_changes`: only the states of entities that the event log shows, if it can tell.

        Raises NotYet if there is nothing to take, Moved or Stale if it has to be begun again, LayoutError for a state
        that this version cannot read, StoreDown or HistoryDown; nothing was changed then.
        """
        began = time.monotonic()
        view = OnlineView(self._client(), naming.tag(*self._names, partition))
        marks = _whole(view.marks(), topic_id)
        before = writer.latest(self._owner, partition)
        if before is not None and before.topic_id == topic_id and marks.progress.offset <= before.offset:
            return None
        log = EventLog(self._database, topic_id, partition)
        keys = self._touched(log, before, marks.progress.offset, topic_id) if by_changes else None
        everything = keys is None
        removed: list[str] = []
        delta = Delta(
            self._states(view, marks, view.entities() if keys is None else _chunks(keys), removed),
            _later(removed),
            everything,
        )
        checkpoint = Checkpoint(topic_id, marks.progress.offset, marks.duplicates_index)
        buckets = ((minute, view.bucket(minute, marks)) for minute in sorted(marks.buckets))
        states, gone = writer.write((self._owner, partition), before, checkpoint, delta, buckets)
        return Taken(checkpoint.offset, states, gone, everything, time.monotonic() - began)

    def _touched(self, log: EventLog, before: Checkpoint | None, offset: int, topic_id: UUID) -> list[str] | None:
        """Entities with events since the checkpoint before; None if the event log cannot tell. Raises NotYet."""
        if before is None or before.topic_id != topic_id:
            return None
        recorded = log.recorded(offset, _BEHIND_SECONDS)
        if recorded is None or max(recorded.first, recorded.judged_from) > before.offset:
            return None
        if self._owner not in recorded.judged_by.split():
            return None
        if recorded.next < offset:
            raise NotYet(f"the event log is at {recorded.next}, the states are at {offset}")
        return log.touched(before.offset, offset)

    def _states(
        self, view: OnlineView, marks: Marks, keys: Iterable[list[str]], removed: list[str]
    ) -> Iterator[list[StoredState]]:
        """The states of entities; those that have none are added to `removed`."""
        for part in _even(keys):
            found = [(key, blob) for key, blob in zip(part, view.states(part, marks), strict=True)]
            removed.extend(key for key, blob in found if blob is None)
            have = [(key, blob) for key, blob in found if blob is not None]
            if not have:
                continue
            offsets, newest = self._layout.peek([blob for _, blob in have])
            yield [
                StoredState(key, offset, self._expires_ms(at), blob)
                for (key, blob), offset, at in zip(have, offsets.tolist(), newest.tolist(), strict=True)
            ]
        view.require(marks)

    def _expires_ms(self, newest_ms: float) -> int | None:
        if self._ttl_ms is None or not np.isfinite(newest_ms):
            return None
        return int(newest_ms) + self._ttl_ms


def _whole(marks: Marks | None, topic_id: UUID) -> Marks:
    if marks is None or not marks.progress.complete:
        raise NotYet("the partition is not complete")
    if not marks.source or topic_uuid(marks.source) != topic_id:
        raise NotYet("its states are of another topic of this name")
    return marks


def _chunks(keys: list[str]) -> Iterator[list[str]]:
    for begin in range(0, len(keys), _KEYS):
        yield keys[begin : begin + _KEYS]


def _even(parts: Iterable[list[str]]) -> Iterator[list[str]]:
    """Gathers what a SCAN finds, which is mostly little, into parts of `_KEYS`."""
    waiting: list[str] = []
    for part in parts:
        waiting += part
        while len(waiting) >= _KEYS:
            yield waiting[:_KEYS]
            del waiting[:_KEYS]
    if waiting:
        yield waiting


def _later(keys: list[str]) -> Iterator[list[str]]:
    """The list as it is when it is asked for."""
    yield keys


__all__ = ["Checkpointer", "NotYet", "Taken"]
