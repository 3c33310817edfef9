"""Rows of one partition on their way into a table: columns that can be cut, made bare, and written as COPY data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol, Self
from uuid import UUID

import msgspec
import numpy as np
from numpy.typing import NDArray

from freshet.engine.column import Ints
from freshet.recorder.batch import Batch
from freshet.recorder.judge import Judged
from freshet.stores import copy_rows
from freshet.stores.copy_rows import constant, int2, int4, int8, timestamps, utf8
from freshet.stores.erasures import Forgotten
from freshet.stores.event_log import Status


@dataclass(frozen=True, slots=True)
class Place:
    """A partition of a topic."""

    topic: str
    topic_id: UUID
    partition: int


class Rows(Protocol):
    """What the writer needs of rows."""

    table: ClassVar[str]
    columns: ClassVar[tuple[str, ...]]

    @property
    def place(self) -> Place: ...

    @property
    def offset(self) -> Ints: ...

    def __len__(self) -> int: ...

    def entities(self) -> set[str]:
        """Of whom it is to be asked whether they were erased."""
        ...

    def admitted(self, gone: Forgotten) -> Self:
        """The rows that may still be written, `gone` being those of `entities` that were erased."""
        ...

    def cut(self, begin: int, end: int) -> Self:
        """Some of the rows."""
        ...

    def bare(self) -> Self | None:
        """The rows without what the database may refuse; None: they are left out."""
        ...

    def encode(self) -> bytes:
        """The rows as COPY data."""
        ...

    def days(self) -> NDArray[np.int64]:
        """The distinct days since 1970 of their broker times."""
        ...


@dataclass(frozen=True, slots=True)
class EventRows:
    """Rows of event_log."""

    table: ClassVar[str] = "event_log"
    columns: ClassVar[tuple[str, ...]] = (
        *("topic_id", "partition", "topic", "offset", "broker_time", "status"),
        *("event_time", "entity", "event_id", "payload", "replay_for"),
    )
    place: Place
    offset: Ints
    broker_ms: Ints
    judged: Judged

    @classmethod
    def of(cls, place: Place, batch: Batch, judged: Judged) -> EventRows:
        """Every record of a batch."""
        return cls(place, batch.offset, batch.broker_ms, judged)

    def __len__(self) -> int:
        return len(self.offset)

    def entities(self) -> set[str]:
        """None: an erasure of events is a record behind them."""
        return set()

    def admitted(self, gone: Forgotten) -> EventRows:
        """All."""
        return self

    def cut(self, begin: int, end: int) -> EventRows:
        """Rows `begin` to before `end`."""
        j = self.judged
        judged = Judged(
            j.status[begin:end],
            j.entity[begin:end],
            j.event_id[begin:end],
            j.event_ms[begin:end],
            None if j.replay_for is None else j.replay_for[begin:end],
            j.payload[begin:end],
        )
        return replace(self, offset=self.offset[begin:end], broker_ms=self.broker_ms[begin:end], judged=judged)

    def bare(self) -> EventRows:
        """Only the places, with the status that says so: log time needs them."""
        nothing: list[str | None] = [None] * len(self)
        status = np.full(len(self), Status.REFUSED, np.int16)
        judged = Judged(status, nothing, nothing, np.full(len(self), -1, np.int64), None, [None] * len(self))
        return replace(self, judged=judged)

    def encode(self) -> bytes:
        """COPY data."""
        j = self.judged
        late = j.event_ms < 0
        return copy_rows.rows(
            len(self),
            [
                constant(self.place.topic_id.bytes),
                int4(self.place.partition),
                constant(self.place.topic.encode()),
                int8(self.offset),
                timestamps(self.broker_ms),
                int2(j.status),
                timestamps(j.event_ms, late if late.any() else None),
                utf8(j.entity),
                utf8(j.event_id),
                j.payload,
                [None] * len(self) if j.replay_for is None else utf8(j.replay_for),
            ],
        )

    def days(self) -> NDArray[np.int64]:
        """Of broker times."""
        return np.unique(self.broker_ms // DAY_MS)


DAY_MS = 86_400_000


class _Vector(msgspec.Struct, gc=False):
    """A message of an output topic, as processors send it."""

    featureset: str
    version: str
    revision: str
    partition: int
    offset: int
    as_of: int
    features: msgspec.Raw


_vector = msgspec.json.Decoder(_Vector).decode


@dataclass(frozen=True, slots=True)
class VectorRows:
    """Rows of feature_snapshots."""

    table: ClassVar[str] = "feature_snapshots"
    columns: ClassVar[tuple[str, ...]] = (
        *("topic_id", "partition", "offset", "broker_time", "source_partition", "source_offset", "as_of"),
        *("featureset", "version", "revision", "entity", "features"),
    )
    place: Place
    offset: Ints
    broker_ms: Ints
    vectors: Sequence[_Vector]
    keys: Sequence[bytes]
    """Their entities."""
    sources: Mapping[str, str]
    """Source topics by FeatureSet."""

    @classmethod
    def of(cls, place: Place, batch: Batch, sources: Mapping[str, str]) -> tuple[VectorRows, int]:
        """The vectors of a batch, and how many records are none."""
        vectors, keys, kept = [], [], []
        for i, (value, key) in enumerate(zip(batch.values, batch.keys, strict=True)):
            try:
                if value is None or key is None:
                    continue
                vectors.append(_vector(value))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue
            keys.append(key)
            kept.append(i)
        at = np.array(kept, np.int64)
        return cls(place, batch.offset[at], batch.broker_ms[at], vectors, keys, sources), len(batch) - len(kept)

    def __len__(self) -> int:
        return len(self.offset)

    def entities(self) -> set[str]:
        """All."""
        return {entity.decode(errors="replace") for entity in self.keys}

    def admitted(self, gone: Forgotten) -> VectorRows:
        """Those of entities that were not erased since their events."""
        if not gone.by_entity:
            return self
        entities = [entity.decode(errors="replace") for entity in self.keys]
        kept = [
            i
            for i, (entity, vector) in enumerate(zip(entities, self.vectors, strict=True))
            if not gone.of_state(entity, self.sources.get(vector.featureset), vector.partition, vector.offset)
        ]
        at = np.array(kept, np.int64)
        vectors, keys = [self.vectors[i] for i in kept], [self.keys[i] for i in kept]
        return replace(self, offset=self.offset[at], broker_ms=self.broker_ms[at], vectors=vectors, keys=keys)

    def cut(self, begin: int, end: int) -> VectorRows:
        """Rows `begin` to before `end`."""
        part = slice(begin, end)
        return replace(
            self,
            offset=self.offset[part],
            broker_ms=self.broker_ms[part],
            vectors=self.vectors[part],
            keys=self.keys[part],
        )

    def bare(self) -> None:
        """Nothing of a vector is worth keeping without its values."""

    def encode(self) -> bytes:
        """COPY data."""
        vectors = self.vectors
        return copy_rows.rows(
            len(self),
            [
                constant(self.place.topic_id.bytes),
                int4(self.place.partition),
                int8(self.offset),
                timestamps(self.broker_ms),
                int4(_int64([v.partition for v in vectors])),
                int8(_int64([v.offset for v in vectors])),
                timestamps(_int64([v.as_of for v in vectors])),
                [v.featureset.encode() for v in vectors],
                [v.version.encode() for v in vectors],
                [v.revision.encode() for v in vectors],
                self.keys,
                [bytes(v.features) for v in vectors],
            ],
        )

    def days(self) -> NDArray[np.int64]:
        """Of broker times."""
        return np.unique(self.broker_ms // DAY_MS)


def _int64(values: list[int]) -> Ints:
    return np.array(values, np.int64)
