"""One partition on a real Valkey, seen from outside: its log, its store's copies, and what must hold at every moment.

An event's value is 4 to the power of its offset, so the sum that a state shows tells which events it holds and how
often. A sum over a long window says the same of the tiles.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from uuid import UUID

import numpy as np
import redis

from freshet.engine.layout import LayoutError
from freshet.engine.reader import Vectors
from freshet.processor.compiled import Compiled
from freshet.processor.records import Records
from freshet.spec import naming
from freshet.spec.load import parse_featureset
from freshet.stores.fence import Progress
from freshet.stores.online_view import OnlineView
from freshet.stores.states import Checkpoint, StoredState

KEYS = ("X", "Y", "Z")
START_MS = 1_767_225_600_000
_MANIFEST = """
apiVersion: freshet.dev/v1alpha1
kind: FeatureSet
metadata: {name: conformance}
spec:
  version: v1
  entity: {name: user, key: user}
  source:
    topic: events
    partitions: 1
    replication: 1
    retention: 8d
    deduplicate: 10m
    fields: {value: {type: double, required: true}}
  features:
    - {name: total, aggregate: sum, of: value}
    - {name: recent, aggregate: sum, of: value, windows: [1h]}
    - {name: newest, aggregate: sum, of: value, windows: [1m]}
  output: {topic: vectors, every: 100ms}
"""
FEATURESET = parse_featureset(_MANIFEST)
COMPILED = Compiled.of(FEATURESET)

Copy = dict[bytes, bytes]


@dataclass(frozen=True)
class Event:
    """A record of the log."""

    key: str
    id: int
    late_ms: int = 0
    erases: bool = False
    """A control record: all before it of its key is to be forgotten."""


class Log:
    """Records, and which of them count."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.events = events
        self.end = len(events)
        first = {event.id: offset for offset, event in reversed(list(enumerate(events)))}
        self.accepted = [first[event.id] == offset and not event.erases for offset, event in enumerate(events)]
        self.total = cache(self._total)

    def records(self, begin: int, end: int) -> Records:
        """What a consumer gets."""
        values = []
        for offset in range(begin, end):
            event = self.events[offset]
            stamp = self._broker_ms(offset) - event.late_ms
            body = {"user": event.key, "event_id": str(event.id), "timestamp": stamp, "value": 4.0**offset}
            values.append(json.dumps(body).encode())
        offsets = np.arange(begin, end)
        broker = np.array([self._broker_ms(offset) for offset in offsets.tolist()])
        erase = np.array([event.erases for event in self.events[begin:end]])
        key = lambda index: self.events[begin + index].key.encode()  # noqa: E731
        return Records(offsets, broker, values, key, erase=erase if erase.any() else None)

    def forgotten(self, key: str, below: int) -> int:
        """The offset after the last erasure of the key among the records below an offset; 0: there is none."""
        return max((o + 1 for o in range(below) if self.events[o].key == key and self.events[o].erases), default=0)

    def offset_below(self, key: str, progress: int) -> int:
        """The own offset that a state needs when everything below `progress` is done."""
        kept = range(self.forgotten(key, progress), progress)
        own = [o + 1 for o in kept if self.events[o].key == key and self.accepted[o]]
        return own[-1] if own else 0

    def _total(self, key: str, offset: int) -> float:
        kept = range(self.forgotten(key, offset), offset)
        return sum(4.0**o for o in kept if self.events[o].key == key and self.accepted[o])

    @staticmethod
    def _broker_ms(offset: int) -> int:
        return START_MS + 300 * offset


class Wrong(Exception):
    """A property does not hold; its number comes first."""


@dataclass
class Sent:
    """Vectors that Kafka has been given, and those it has acknowledged."""

    at_once: bool = False
    """Whether Kafka acknowledges without being told to."""
    waiting: list[tuple[str, int, Any]] = field(default_factory=list)
    acknowledged: dict[str, int] = field(default_factory=dict)
    """By key the largest offset that an acknowledged vector has."""

    def acknowledge(self, count: int | None = None) -> None:
        """Kafka has the first messages that wait; None: all."""
        now = self.waiting[:count]
        del self.waiting[: len(now)]
        for key, offset, delivered in now:
            self.acknowledged[key] = max(self.acknowledged.get(key, 0), offset)
            delivered(None, None)


class Broker:
    """Stands for Kafka: takes messages and acknowledges them when told."""

    def __init__(self, world: World, sent: Sent) -> None:
        self._world = world
        self._sent = sent

    def produce(self, topic: str, *, key: bytes, value: bytes, on_delivery: Any, **_: Any) -> None:
        """Takes a vector and looks at its values (S6)."""
        assert topic == FEATURESET.output_topic
        vector = json.loads(value)
        offset = vector["offset"]
        self._world.require_values(
            "S6", key.decode(), offset, vector["features"]["total"], vector["features"]["recent_1h"]
        )
        self._sent.waiting.append((key.decode(), offset, on_delivery))
        if self._sent.at_once:
            self._sent.acknowledge()

    def poll(self, _timeout: float) -> int:
        """Nothing happens by itself here."""
        return 0


@dataclass(frozen=True)
class Saved:
    """A checkpoint of the partition; stands for `freshet.stores.states.Snapshot` too."""

    checkpoint: Checkpoint
    stored: tuple[StoredState, ...]
    minutes: tuple[tuple[int, bytes], ...]

    def states(self, _now_ms: int, count: int) -> Generator[list[StoredState], None, None]:
        """The states, in parts."""
        for begin in range(0, len(self.stored), count):
            yield list(self.stored[begin : begin + count])

    def buckets(self) -> Iterator[tuple[int, bytes]]:
        """The duplicate filter."""
        yield from self.minutes


class World:
    """The partition's store, seen as its readers see it."""

    def __init__(self, client: redis.Redis, old: redis.Redis, log: Log, name: str, *, expires: bool) -> None:
        """`old` is where the former primary's data is kept. `expires`: only S4 and S6 are asked."""
        self.client, self.old = client, old
        self.log = log
        self.tag = naming.tag(name, FEATURESET.name, FEATURESET.definition.revision, 0)
        self.expires = expires
        self.sent = Sent()
        self.saved: Saved | None = None

    def save(self) -> None:
        """Takes a checkpoint if the store has got further than the last one."""
        view = OnlineView(self.client, self.tag)
        marks = view.marks()
        if marks is None or marks.progress.restoring or not marks.progress.offset:
            return
        if self.saved is not None and marks.progress.offset <= self.saved.checkpoint.offset:
            return
        found = [(key, blob) for key, blob in zip(KEYS, view.states(KEYS, marks), strict=True) if blob is not None]
        offsets, _ = COMPILED.layout.peek([blob for _, blob in found])
        stored = [StoredState(k, o, None, blob) for (k, blob), o in zip(found, offsets.tolist(), strict=True)]
        checkpoint = Checkpoint(UUID(int=1), marks.progress.offset, marks.duplicates_index)
        minutes = [(minute, view.bucket(minute, marks)) for minute in marks.buckets]
        self.saved = Saved(checkpoint, tuple(stored), tuple(minutes))

    def copy(self, client: redis.Redis) -> Copy:
        """All that is stored of the partition."""
        keys = self._keys(client)
        return {key: value for key, value in zip(keys, _mget(client, keys), strict=True) if value is not None}

    def put_back(self, client: redis.Redis, copy: Copy) -> None:
        """Makes the store what it was."""
        keys = self._keys(client)
        if keys:
            client.delete(*keys)
        if copy:
            client.mset(dict(copy))

    def progress(self, client: redis.Redis) -> Progress | None:
        """Where the partition stands."""
        (found,) = _mget(client, [naming.progress_key(self.tag)])
        return Progress.parse(found) if found is not None else None

    def check(self) -> None:
        """S1, S2, S4 and S5 of what a reader finds now. Raises Wrong."""
        for client in (self.client, self.old):
            keys = [naming.progress_key(self.tag), *(naming.entity_key(self.tag, key) for key in KEYS)]
            found, *blobs = _mget(client, keys)
            progress = Progress.parse(found).offset if found is not None else 0
            for key, blob in zip(KEYS, blobs, strict=True):
                self._check_state(key, blob, progress)
            if not self.expires:
                self.require_outputs(progress)

    def require_outputs(self, progress: int) -> None:
        """S1 of outputs: every event below progress has been answered for, but those that are erased. Raises Wrong."""
        for key in KEYS:
            needed = self.log.offset_below(key, progress)
            if needed <= self.log.forgotten(key, self.log.end):
                continue  # its vector was void when the erasure was read, which may be before progress is there
            if self.sent.acknowledged.get(key, 0) < needed:
                raise Wrong(f"S1 output lost: {key} below {progress}")

    def require_values(self, number: str, key: str, offset: int, total: float, recent: float) -> None:
        """Two sums equal what the log says at an own offset. Raises Wrong."""
        if self.expires:
            return
        expected = self.log.total(key, max(offset, 0))
        if total != recent:
            raise Wrong(f"{number if number == 'S6' else 'S4'} parts differ: {key}@{offset} {total} {recent}")
        if total != expected:
            counts = [int(total) >> 2 * o & 3 for o in range(self.log.end)]
            twice = any(n > (1 if self.log.accepted[o] else 0) for o, n in enumerate(counts))
            what = number if number == "S6" else "S2 event twice" if twice else "S1 event missing"
            raise Wrong(f"{what}: {key}@{offset} holds {counts}")

    def _keys(self, client: redis.Redis) -> list[bytes]:
        keys: list[bytes] = client.keys(f"{self.tag}*")  # type: ignore[assignment]
        return keys

    def _check_state(self, key: str, blob: bytes | None, progress: int) -> None:
        try:
            vectors: Vectors = COMPILED.reader.read([key], [blob], START_MS)
        except LayoutError as error:
            raise Wrong(f"S4 torn value: {key}: {error}") from error
        if self.expires:
            return
        offset = int(vectors.offset[0])
        if max(offset, 0) < self.log.offset_below(key, progress):
            raise Wrong(f"S1 event lost: {key}@{offset}, progress {progress}")
        if blob is not None and offset < self.log.forgotten(key, progress):
            raise Wrong(f"S7 not forgotten: {key}@{offset}, progress {progress}")
        total, recent = (float(vectors.columns[name].values[0]) for name in ("total", "recent_1h"))
        self.require_values("S1", key, offset, total, recent)


def _mget(client: redis.Redis, keys: Sequence[str] | Sequence[bytes]) -> list[bytes | None]:
    values: list[bytes | None] = client.mget(keys) if keys else []  # type: ignore[assignment]
    return values
