"""The owner of one partition: every step between a record and its durable state, in the order of design §6.

It does no threading and reads no clock. The service (and the conformance test) calls its steps: `claim`, `start`, then
any number of `take`, `begin_flush`, sending the flush's scripts in order and `flushed`, and `idle_check`. After any
exception the owner is to be thrown away, memory and all, and a new one takes over with a new token (§6.6).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from freshet.engine.column import Bools, Ints
from freshet.engine.duplicates import DuplicateFilter
from freshet.engine.events import EventBatch
from freshet.engine.hashtable import Hashes
from freshet.engine.partitions import partitions_of
from freshet.engine.rejection import Reason, Rejected
from freshet.engine.state import Applied, PartitionState, Write
from freshet.engine.state_table import StateTable
from freshet.processor.compiled import Compiled
from freshet.processor.counts import Counts
from freshet.processor.decoded import Decoded, decode_together
from freshet.processor.forgotten import Forgotten
from freshet.processor.outputs import Outputs
from freshet.processor.pending import Pending
from freshet.processor.records import Records
from freshet.spec.definition import FeatureSet
from freshet.spec.lifetime import TTL_SLACK_MS, state_ttl_ms
from freshet.spec.partitioning import partition_of
from freshet.stores.fence import DuplicateWrite, PartitionFence, Script, Takeover

Load = Callable[[], list[bytes | None]]
"""Gives stored states; None: an entity has none. Raises Refused, StoreDown."""

_LOAD_KEYS = 500
"""Keys of one load: one MGET must not block the store for long."""


class SourceChanged(Exception):
    """The topic is not the one that the stored state was made from: continuing would mix two logs."""


class SourceTruncated(Exception):
    """Events that the states need are in no log any more, or the log ends before what they hold."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one partition's work."""

    keys_per_script: int = 200
    """A script blocks the store while it runs: 200 keys take about a millisecond."""
    resident_entities: int = 1_000_000
    """States held in memory; clean ones beyond that are forgotten, those longest untouched first."""


@dataclass(frozen=True, slots=True)
class Flush:
    """Scripts to send in this order, each after the one before was acknowledged."""

    scripts: list[Script]
    offset: int
    """Where `progress` stands when all are done."""
    entities: int
    oldest_broker_ms: int | None
    """Broker time of the oldest event that becomes readable with it."""


class Prepared(NamedTuple):
    """Records of this partition's entities, those of which that are not in memory are on their way."""

    records: Records
    batch: EventBatch
    hashes: Hashes
    rejected: list[Rejected]
    loads: list[tuple[Sequence[str], Load]]
    """Keys that are not in memory, and their states."""


class Admitted(NamedTuple):
    """Records whose events may change the states."""

    records: Records
    batch: EventBatch
    accepted: Bools
    """Those that are no duplicates."""
    rejected: list[Rejected]
    erased: Ints
    """Slots that forgot everything."""


class PartitionOwner:
    """One partition of one FeatureSet, from taking it over to losing it."""

    def __init__(
        self,
        featureset: FeatureSet,
        partition: int,
        fence: PartitionFence,
        outputs: Outputs,
        *,
        compiled: Compiled,
        io: Callable[[Load], Load] = lambda load: load,
        limits: Limits | None = None,
        counts: Counts | None = None,
        table: StateTable | None = None,
    ) -> None:
        """`io` begins a load where the scripts are sent, in order with them; what it returns waits for it. `table` is
        shared by the owners of a process; None: one of its own."""
        self.partition = partition
        self.counts = counts or Counts()
        self.fence = fence
        self._featureset = featureset
        self._definition = featureset.definition
        self._compiled = compiled
        self._outputs = outputs
        self._io = io
        self._limits = limits or Limits()
        self.states = PartitionState(self._definition, compiled.layout, table=table)
        self._pending = Pending()
        self._filter = DuplicateFilter(self._definition.deduplicate_ms)
        self._flushing = False
        self._oldest_broker_ms: int | None = None
        self.told_ms = 0
        """When vectors were sent last."""
        self._ttl_ms = state_ttl_ms(featureset)
        self.forgotten = Forgotten()
        """Erasures that are known before they are read."""
        self.position = 0
        """The next offset to be taken."""
        self.stored = 0
        """The offset in `progress` once every prepared script is done."""
        self.complete = False
        self._complete_from = 0

    # Step 1: §6.5. Both run where the scripts are sent.
    def claim(self, source: str) -> Takeover:
        """Makes this the owner and says what is there. Raises Refused, StoreDown, StoreFull.

        `source` is the topic's id. Raises SourceChanged if the stored states do not belong to it.
        """
        taken = self.fence.take_over(0, source, restoring=True)
        if taken.source != source:
            raise SourceChanged(f"partition {self.partition}: state is of topic id {taken.source}, not {source}")
        return taken

    def start(self, duplicates_index: bytes | None, log_end: int) -> int:
        """Goes on from where progress is, with the filter of this index; returns the offset to consume from.

        What was created or restored has been settled before. The states are complete when they reach `log_end`.
        Raises Refused, StoreDown.
        """
        self._filter = DuplicateFilter(self._definition.deduplicate_ms, duplicates_index)
        if self._filter.minutes:
            self._filter.load(self.fence.load_buckets(sorted(self._filter.minutes)))
        progress = self.fence.progress
        self.position = self.stored = progress.offset
        self.complete = progress.complete
        self._complete_from = log_end
        return self.position

    # Step 2: §6.1–6.3, §6.9.
    def take(self, records: Records, now_ms: int) -> None:
        """Takes the next records of the partition. Raises Refused, StoreDown, OutputFailed."""
        decoded = decode_together(self._compiled.decoder, [records])[0]
        admitted = self.admit(self.prepare(records, decoded))
        self.applied(admitted, self.states.apply(admitted.batch, admitted.accepted), now_ms)

    def prepare(self, records: Records, decoded: Decoded) -> Prepared:
        """All of `take` before the store is waited for."""
        batch, hashes, rejected = decoded.batch, decoded.hashes, decoded.rejected
        missing = self.states.missing(batch.keys)
        kept, misrouted = self._routed(batch, records, missing)
        if kept is not None:
            batch, hashes = batch.select(kept), hashes[kept]
            rejected = [*rejected, *misrouted]
            missing = self.states.missing(batch.keys)
        return Prepared(records, batch, hashes, rejected, self._begin_load(missing))

    def admit(self, prepared: Prepared) -> Admitted:
        """All of `take` before the states change. Raises Refused, StoreDown."""
        records, batch, hashes, rejected, loads = prepared
        index = np.searchsorted(records.offset, batch.offset)
        accepted = self._filter.accept(records.offset, records.broker_ms, index, hashes, records.known)
        self._load(loads)
        erased = self._erase(records)
        self.counts.hits += len(batch) - sum(len(keys) for keys, _ in loads)
        return Admitted(records, batch, accepted, rejected, erased)

    def applied(self, admitted: Admitted, applied: Applied, now_ms: int) -> None:
        """All of `take` after the states have changed. Raises OutputFailed."""
        records, batch, accepted, rejected, erased = admitted
        self._pending.applied(applied.slot[applied.applied], batch.offset[applied.applied])
        held = applied.applied | applied.skipped
        outputs = self._featureset.output_topic is not None
        self._pending.seen(applied.slot[held], batch.offset[held], outputs=outputs)
        self._pending.emptied(erased[self.states.empty(erased)])
        if self.forgotten:
            told = np.unique(applied.slot[held])
            self._pending.silence(told[self.states.empty(told)])
        self._outputs.send_dead_letters(records, self.forgotten.untold(records, rejected), now_ms)
        if self._oldest_broker_ms is None and applied.applied.any():
            self._oldest_broker_ms = int(batch.broker_ms[applied.applied][0])
        self.reached(int(records.offset[-1]) + 1)
        self.counts.took(batch, accepted, rejected, applied.tally)

    def reached(self, offset: int) -> None:
        """The log holds nothing more for us below `offset`: control records leave gaps at its end."""
        self.position = max(self.position, offset)

    # Step 3: §6.5, §6.8.
    def wants_flush(self) -> bool:
        """Whether there is anything to write or move."""
        return not self._flushing and (
            self.position > self.stored or (not self.complete and self.position >= self._complete_from)
        )

    def due(self, now_ms: int, wait_ms: int) -> Ints:
        """Slots of entities whose vectors are due, and were not sent within `output.every` and `wait_ms`."""
        return self._due(now_ms, max(self._featureset.output_every_ms, wait_ms))

    def untold(self, now_ms: int) -> Ints:
        """Slots of all entities whose vectors are due."""
        return self._due(now_ms, 0)

    def _due(self, now_ms: int, every_ms: int) -> Ints:
        if self._featureset.output_topic is None:
            return np.empty(0, np.int64)
        return self._pending.due(now_ms, every_ms)

    def tell(self, slots: Ints, keys: Sequence[str], texts: Sequence[bytes], now_ms: int) -> None:
        """Sends the vectors of these entities. Raises OutputFailed."""
        self.told_ms = now_ms
        self._outputs.send_vectors(keys, texts, self._pending.sent(slots, now_ms))
        self.counts.vectors += len(keys)

    def begin_flush(self, now_ms: int) -> Flush | None:
        """Encodes every dirty state; None if nothing is to be stored yet. What waits for its vector holds the offset.

        The scripts are fixed from here on; while they are sent, `take` may go on. Raises OutputFailed.
        """
        dirty = self._pending.dirty
        empty = self.states.empty(dirty)
        writes = self._writes(dirty[~empty], now_ms)
        move_to = min(self.position, self._pending.due_from(), self._outputs.held_from())
        gone, move_to = self._gone(dirty[empty], move_to)
        complete = not self.complete and self.position >= self._complete_from
        if not writes and move_to <= self.stored and not complete:
            return None
        scripts = self._scripts(writes, move_to if move_to > self.stored else None, complete, gone)
        self.stored = max(self.stored, move_to)
        self.complete = self.complete or complete
        self._flushing = True
        oldest, self._oldest_broker_ms = self._oldest_broker_ms, None
        return Flush(scripts, self.stored, len(writes), oldest)

    def flushed(self) -> None:
        """Step 5: every script of the flush was acknowledged."""
        self._flushing = False
        over = len(self.states) - self._limits.resident_entities
        if over > 0:
            resident = self.states.resident()
            self.states.evict(self._pending.coldest(resident, over + len(self.states) // 10))

    def close(self) -> None:
        """Forgets everything; nothing else may be called afterwards."""
        self.states.close()

    def settled(self) -> bool:
        """Whether everything taken is stored and acknowledged."""
        return not self._flushing and self.stored == self.position and self.complete

    def _erase(self, records: Records) -> Ints:
        """Resets the states that erasures ask for; returns their slots. An entity of another partition has none here.

        In a batch the last erasure of an entity counts: what lies before it is held by the state it leaves.
        """
        last = {key: index for key, index in records.erasures().items() if self._is_home(key)}
        if not last:
            return np.empty(0, np.int64)
        keys = list(last)
        self._load(self._begin_load(self.states.missing(keys)))
        slots, offsets = self.states.slots(keys), records.offset[list(last.values())]
        reset = self.states.erase(slots, offsets)
        self._pending.erased(slots[reset], offsets[reset])
        self.counts.erased += int(np.count_nonzero(reset))
        return slots[reset]

    def _gone(self, slots: Ints, move_to: int) -> tuple[list[str], int]:
        """Keys to delete in the script that moves the offset past their erasures, and how far it may move.

        It is one script, however many there are: they are no more than what was taken since the last flush.
        """
        if not len(slots):
            return [], move_to
        slots, move_to = self._pending.erasable(slots, move_to)
        self._pending.written(slots)
        return [self.states.keys[slot] for slot in slots.tolist()], move_to

    def _is_home(self, key: str) -> bool:
        source = self._featureset.source
        return partition_of(key, source.partitions, source.partitioner) == self.partition

    def _routed(
        self, batch: EventBatch, records: Records, missing: Sequence[str]
    ) -> tuple[Bools | None, list[Rejected]]:
        """Sorts out events whose entity belongs to another partition; checked when an entity is first seen (§6.3).

        Returns which events stay; None: all.
        """
        home = partitions_of(missing, self._featureset.source.partitions, self._featureset.source.partitioner)
        lost = {missing[i] for i in np.flatnonzero(home != self.partition).tolist()}
        if not lost:
            return None, []
        kept = np.fromiter((k not in lost for k in batch.keys), np.bool_, len(batch))
        sentence = f"{self._definition.key}: its key belongs to another partition than {self.partition}"
        index = np.searchsorted(records.offset, batch.offset[~kept])
        return kept, [Rejected(i, Reason.MISROUTED, sentence) for i in index.tolist()]

    def _begin_load(self, missing: Sequence[str]) -> list[tuple[Sequence[str], Load]]:
        parts = [missing[begin : begin + _LOAD_KEYS] for begin in range(0, len(missing), _LOAD_KEYS)]
        return [(keys, self._io(partial(self.fence.load, keys))) for keys in parts]

    def _load(self, loads: Sequence[tuple[Sequence[str], Load]]) -> None:
        for keys, load in loads:
            blobs = load()
            self.states.load(keys, blobs)
            self.counts.misses += sum(blob is None for blob in blobs)
            slots = self.states.slots(keys)
            self._pending.resize(int(slots.max()) + 1)
            self._pending.loaded(slots)
            ahead = self.forgotten.among(keys)
            if ahead:
                self.states.erase(self.states.slots(list(ahead)), np.array(list(ahead.values()), np.int64))

    def _writes(self, slots: Ints, now_ms: int) -> list[Write]:
        if not len(slots):
            return []
        renew = now_ms - min(TTL_SLACK_MS, self._ttl_ms // 2) if self._ttl_ms is not None else 0
        self._pending.written(slots)
        return self.states.encode(slots, now_ms=now_ms, renew_before_ms=renew, ttl_ms=self._ttl_ms)

    def _scripts(
        self, writes: list[Write], move_to: int | None, complete: bool, gone: Sequence[str] = ()
    ) -> list[Script]:
        size = self._limits.keys_per_script
        chunks = [writes[i : i + size] for i in range(0, len(writes), size)] or [[]]
        scripts = [self.fence.prepare(chunk) for chunk in chunks[:-1]]
        duplicates = None
        if move_to is not None and self._definition.deduplicate_ms:
            changes = self._filter.changes(move_to)
            duplicates = DuplicateWrite(changes.append, changes.drop, changes.index)
        last = self.fence.prepare(
            chunks[-1], move_to=move_to, complete=True if complete else None, duplicates=duplicates, gone=gone
        )
        return [*scripts, last]
