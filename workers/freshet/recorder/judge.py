"""What the records of a source topic are: events that count, duplicates, invalid ones, control records (design §5).

A pure function of the log and of the FeatureSets that read the topic. A record is valid if any of them accepts it, and
the first one that does (by namespace and name) says its entity, event id and time. Whether it is a duplicate is judged
with the `deduplicate` of the topic's first FeatureSet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from freshet.engine.column import Ints
from freshet.engine.control import Erase, Replay, is_marked, mark_of
from freshet.engine.decode import EventDecoder
from freshet.engine.duplicates import DuplicateFilter, event_hashes
from freshet.engine.partitions import partitions_of
from freshet.recorder.batch import Batch
from freshet.spec.definition import FeatureSet
from freshet.spec.naming import owner
from freshet.stores.event_log import Status


@dataclass(slots=True)
class Judged:
    """Columns of equal length, one value a record."""

    status: NDArray[np.int16]
    entity: list[str | None]
    event_id: list[str | None]
    event_ms: Ints
    """Event time; -1 where there is none."""
    replay_for: list[str | None] | None
    """None: of no record."""
    payload: list[bytes | None]


class Part(NamedTuple):
    """Which part of the topic a batch is of."""

    partition: int
    partitions: int
    """Of the topic, as it is."""


class Judge:
    """Judges one topic's records. The filters are the caller's, one a partition."""

    def __init__(self, featuresets: Sequence[FeatureSet], namespace: str) -> None:
        """At least one FeatureSet, in the order in which they are asked."""
        self._partitioner = featuresets[0].source.partitioner
        self._decoders = [EventDecoder(fs.definition) for fs in featuresets]
        self._owners = [owner(fs.namespace or namespace, fs.name, fs.definition.revision) for fs in featuresets]
        self.revisions = " ".join(sorted(self._owners))
        """All that are asked, as `recorded.judged_by` has them."""
        self.one_key = len({fs.definition.key for fs in featuresets}) == 1
        """Whether an event has the same entity, whichever of them accepts it."""
        self.deduplicate_ms = featuresets[0].definition.deduplicate_ms

    def judge(self, batch: Batch, part: Part, duplicates: DuplicateFilter) -> Judged:
        """The next records of a partition. The filter takes them."""
        judged = _nothing(len(batch))
        marks = marks_of(batch)
        for i, mark in marks.items():
            if isinstance(mark, Erase):
                judged.status[i], judged.entity[i] = Status.CONTROL, mark.entity
            else:
                self._replay(batch, i, mark, judged, part)
        index = np.delete(np.arange(len(batch)), list(marks)) if marks else np.arange(len(batch))
        self._decode(batch, index, self._decoders, judged, part)
        _mark_duplicates(batch, index[judged.status[index] == Status.ACCEPTED], judged, duplicates)
        return judged

    def _replay(self, batch: Batch, i: int, mark: Replay, judged: Judged, part: Part) -> None:
        """A dead letter that was sent again is for one revision alone, and no duplicate of anything."""
        if judged.replay_for is None:
            judged.replay_for = [None] * len(batch)
        judged.replay_for[i] = mark.owner
        own = [d for d, name in zip(self._decoders, self._owners, strict=True) if name == mark.owner]
        self._decode(batch, np.array([i], np.int64), own or self._decoders, judged, part)

    def _decode(self, batch: Batch, index: Ints, decoders: Sequence[EventDecoder], judged: Judged, part: Part) -> None:
        """Fills in those records of `index` that some decoder accepts."""
        for decoder in decoders:
            if not len(index):
                return
            every = len(index) == len(batch)
            values = batch.values if every else [batch.values[i] for i in index.tolist()]
            # The decoder hands on what it is given as offsets: here the positions in the batch.
            events, rejected = decoder.decode(values, index, batch.broker_ms[index])
            where = events.offset
            if every and not rejected:
                judged.entity, judged.event_id = list(events.keys), list(events.event_ids)
                judged.payload = list(batch.values)
            else:
                for i, key, event_id in zip(where.tolist(), events.keys, events.event_ids, strict=True):
                    judged.entity[i], judged.event_id[i], judged.payload[i] = key, event_id, batch.values[i]
            judged.status[where] = Status.ACCEPTED
            judged.event_ms[where] = events.t_ms
            self._refuse_misrouted(where, events.keys, judged, part)
            index = index[np.array([one.index for one in rejected], np.int64)]

    def _refuse_misrouted(self, where: Ints, keys: list[str], judged: Judged, part: Part) -> None:
        """No processor counts an event on a partition that its key does not map to (§6.3)."""
        home = partitions_of(keys, part.partitions, self._partitioner)
        for i in where[home != part.partition].tolist():
            judged.status[i] = Status.INVALID
            judged.entity[i] = judged.event_id[i] = judged.payload[i] = None
            judged.event_ms[i] = -1


def _nothing(size: int) -> Judged:
    return Judged(
        status=np.full(size, Status.INVALID, np.int16),
        entity=[None] * size,
        event_id=[None] * size,
        event_ms=np.full(size, -1, np.int64),
        replay_for=None,
        payload=[None] * size,
    )


def marks_of(batch: Batch) -> dict[int, Erase | Replay]:
    """The records that are no ordinary events, by index."""
    found = {i: mark_of(batch.keys[i], batch.values[i], h) for i, h in batch.headers.items() if is_marked(h)}
    return {i: mark for i, mark in found.items() if mark is not None}


def _mark_duplicates(batch: Batch, plain: Ints, judged: Judged, duplicates: DuplicateFilter) -> None:
    rows = plain.tolist()
    hashes = event_hashes([judged.entity[i] or "" for i in rows], [judged.event_id[i] for i in rows])
    accepted = duplicates.accept(batch.offset, batch.broker_ms, plain, hashes)
    judged.status[plain[~accepted]] = Status.DUPLICATE
    if len(batch):
        duplicates.changes(int(batch.offset[-1]) + 1)  # not stored: event_log itself is what the filter is made of
