"""The duplicate filter of one partition (design §5, §6.9).

A record is a duplicate if an accepted record of the same entity and event id has a log time no more than `deduplicate`
earlier. The log time of an offset is the largest broker time of the partition up to it: on topics with LogAppendTime
that is the broker time itself, on others it still never falls, so that entries can be forgotten in order and the
filter is a function of the log alone. It is kept as 64-bit hashes in buckets of a minute of log time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xxhash

from freshet.engine.column import Bools, Ints
from freshet.engine.hashtable import ABSENT, Hashes, HashTable

_ENTRY = np.dtype([("hash", "<u8"), ("ms", "<u2")])
_MINUTE_MS = 60_000


def event_hashes(keys: Sequence[str], event_ids: Sequence[str | None]) -> Hashes:
    """XXH3-64 of (entity key, event id); 0 where the id is None. A key holds no NUL, which parts the two."""
    digest = xxhash.xxh3_64_intdigest
    pairs = zip(keys, event_ids, strict=True)
    hashes = (0 if event is None else digest(f"{key}\0{event}".encode()) or 1 for key, event in pairs)
    return np.fromiter(hashes, np.uint64, len(keys))


@dataclass(frozen=True, slots=True)
class Changes:
    """What to store when `progress` moves."""

    append: dict[int, bytes]
    """Bytes to append to the bucket of each minute."""
    drop: list[int]
    """Minutes whose buckets can match nothing any more."""
    index: bytes
    """Log time and the minutes that have buckets."""


class DuplicateFilter:
    """The accepted event ids of one partition, as of the last record seen."""

    def __init__(self, deduplicate_ms: int, index: bytes | None = None) -> None:
        """`index` as stored: the log time and minutes of a filter whose buckets `load` will bring."""
        words = np.frombuffer(index or np.array([-1], "<i8").tobytes(), "<i8").tolist()
        self._span = deduplicate_ms
        self._log_ms: int = words[0]
        self.minutes: set[int] = set(words[1:])
        self._stored_log_ms = self._log_ms
        self._table = HashTable()
        self._pending: deque[tuple[Ints, Ints, Hashes, Bools]] = deque()
        """Offsets, log times, hashes and whether they count of records that are in no stored filter."""

    @classmethod
    def of_accepted(cls, deduplicate_ms: int, log_ms: int, log: Ints, hashes: Hashes) -> DuplicateFilter:
        """The filter at log time `log_ms` that has accepted these hashes at these log times, in ascending order."""
        made = cls(deduplicate_ms)
        made._log_ms = made._stored_log_ms = log_ms
        made.minutes = set(np.unique(log // _MINUTE_MS).tolist())
        last, index = np.unique(hashes[::-1], return_index=True)
        made._table.put(last, log[::-1][index], keep_from=0)
        return made

    def load(self, buckets: Mapping[int, bytes]) -> None:
        """Takes stored buckets. Raises ValueError for one of a length that cannot be."""
        for minute in sorted(buckets):
            entries = np.frombuffer(buckets[minute], _ENTRY)
            # An id accepted twice within the minute stands twice; the later time is what counts.
            hashes, index = np.unique(entries["hash"][::-1], return_index=True)
            times = entries["ms"][::-1][index].astype(np.int64) + minute * _MINUTE_MS
            self._table.put(hashes, times, keep_from=0)

    def accept(
        self,
        offsets: Ints,
        broker_ms: Ints,
        records: Ints,
        hashes: Hashes,
        others: tuple[Ints, Hashes] | None = None,
    ) -> Bools:
        """Which of some valid records are no duplicates.

        `offsets` and `broker_ms` are of every record of the batch, valid or not, in offset order; `records` are the
        indices into them of the valid ones, whose hashes are given (0: no event id, never a duplicate). `others` are
        the same of records of which nothing but their hashes is left: they come between them, and nobody asks of them.
        """
        if others is not None:
            places = np.concatenate([records, others[0]])
            order = np.argsort(places)
            found: Bools = np.empty(len(places), np.bool_)
            hashes = np.concatenate([hashes, others[1]])
            found[order] = self.accept(offsets, broker_ms, places[order], hashes[order])
            return found[: len(records)]
        log = np.maximum(np.maximum.accumulate(broker_ms), self._log_ms) if len(broker_ms) else broker_ms
        accepted = np.ones(len(records), np.bool_)
        if self._span:
            named = np.flatnonzero(hashes)
            if len(named):
                accepted[named] = self._first_seen(hashes[named], log[records[named]])
        kept = accepted & (hashes != 0) if self._span else np.zeros(len(records), np.bool_)
        every = np.zeros(len(offsets), np.uint64)
        every[records] = hashes
        registered = np.zeros(len(offsets), np.bool_)
        registered[records] = kept
        if len(log):
            self._log_ms = int(log[-1])
            self._pending.append((offsets, log, every, registered))
        return accepted

    def changes(self, offset: int) -> Changes:
        """What storing needs so that the stored filter is that of all records below `offset`; each is told once."""
        taken = []
        while self._pending and self._pending[0][0][0] < offset:
            part = self._pending.popleft()
            cut = int(np.searchsorted(part[0], offset))
            taken.append(tuple(a[:cut] for a in part))
            if cut < len(part[0]):
                self._pending.appendleft((part[0][cut:], part[1][cut:], part[2][cut:], part[3][cut:]))
        append: dict[int, bytes] = {}
        if taken:
            log, hashes, kept = (np.concatenate([part[i] for part in taken]) for i in (1, 2, 3))
            self._stored_log_ms = int(log[-1])
            append = self._entries(log[kept], hashes[kept])
        self.minutes |= append.keys()
        oldest = self._stored_log_ms - self._span
        drop = sorted(m for m in self.minutes if (m + 1) * _MINUTE_MS <= oldest)
        self.minutes -= set(drop)
        append = {m: data for m, data in append.items() if m in self.minutes}
        index = np.array([self._stored_log_ms, *sorted(self.minutes)], "<i8").tobytes()
        return Changes(append, drop, index)

    @staticmethod
    def _entries(log: Ints, hashes: Hashes) -> dict[int, bytes]:
        entries = np.empty(len(log), _ENTRY)
        entries["hash"], entries["ms"] = hashes, log % _MINUTE_MS
        minutes = log // _MINUTE_MS
        first = np.flatnonzero(np.diff(minutes, prepend=-1))
        parts = np.split(entries, first[1:])
        return {m: part.tobytes() for m, part in zip(minutes[first].tolist(), parts, strict=False)}

    def _first_seen(self, hashes: Hashes, log: Ints) -> Bools:
        ordered = np.sort(hashes)
        if (ordered[1:] == ordered[:-1]).any():
            return self._first_of_many(hashes, log)
        new = self._forgotten(self._table.get(hashes), log)
        self._table.put(hashes[new], log[new], keep_from=int(log[-1]) - self._span)
        return new

    def _forgotten(self, last: Ints, log: Ints) -> Bools:
        """Whether ids that were `last` accepted then count at these log times."""
        out: Bools = (last == ABSENT) | (last < log - self._span)
        return out

    def _first_of_many(self, hashes: Hashes, log: Ints) -> Bools:
        """The same where some id stands more than once."""
        distinct, first, inverse, count = np.unique(hashes, return_index=True, return_inverse=True, return_counts=True)
        last = self._table.get(distinct)
        new = self._forgotten(last, log[first])
        accepted: Bools = np.zeros(len(hashes), np.bool_)
        accepted[first] = new
        last = np.where(new, log[first], last)
        # An id that stands more than once in the batch: each record depends on the one accepted before it.
        again = np.flatnonzero(count[inverse] > 1)
        for i in again[~np.isin(again, first)].tolist():
            d = inverse[i]
            if last[d] < log[i] - self._span:
                accepted[i] = True
                last[d] = log[i]
        self._table.put(distinct, last, keep_from=int(log[-1]) - self._span)
        return accepted
