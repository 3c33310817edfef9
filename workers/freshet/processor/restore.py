"""Bringing the states of a checkpoint back into the store, under the fence (decision 8)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from itertools import repeat

from freshet.engine.layout import Layout
from freshet.processor.partition import SourceTruncated
from freshet.processor.rebuild import Rebuild
from freshet.stores.fence import DuplicateWrite, EntityWrite, PartitionFence, Script
from freshet.stores.states import Snapshot, StoredState

Send = Callable[[Callable[[], Script]], Future[None]]
"""Prepares a script and sends it where all scripts are sent, in order: the fence belongs to that one thread."""


_KEYS = 400
"""States of one script: they block the store for about a millisecond."""
_BYTES = 1 << 20
"""The same for large states."""
_AHEAD = 1
"""Scripts that wait behind the one that the store executes."""


class Restore:
    """One restoring: from a partition that is marked as `restoring` to one that is at the checkpoint's offset."""

    def __init__(
        self, fence: PartitionFence, layout: Layout, send: Send, rebuild: Rebuild, *, keys: int = _KEYS
    ) -> None:
        """`keys` are the states of one script, at most."""
        self._fence = fence
        self._layout = layout
        self._send = send
        self._rebuild = rebuild
        self._keys = keys
        self._under_way: deque[Future[None]] = deque()

    def run(self, snapshot: Snapshot, offset: int, log_end: int, now_ms: int) -> None:
        """Writes the filter, the states and, last of all, the offset. Afterwards the partition is incomplete.

        `offset` is where events are read from then on: the checkpoint's. Raises Refused, StoreDown, StoreFull,
        HistoryDown, LayoutError, or SourceTruncated for a state that is ahead of the log's end; the partition is still
        marked then, and the next owner begins anew.
        """
        checkpoint = snapshot.checkpoint
        index = checkpoint.duplicates_index
        if index is not None:
            # The index first: it is how the next owner finds the buckets if this one does not get to the end.
            self._next([], DuplicateWrite({}, [], index))
            for minute, data in snapshot.buckets():
                self._next([], DuplicateWrite({minute: data}, [], index))
        # Closed whatever happens: a database connection in the middle of a query cannot end its transaction.
        with closing(snapshot.states(now_ms, self._keys)) as parts:
            for part in parts:
                for writes in _small(self._writes(part, log_end, now_ms)):
                    self._next(writes)
                self._rebuild.restored(len(part))
        self._settle()
        self._send(lambda: self._fence.prepare([], move_to=offset, complete=False)).result()

    def _writes(self, states: Sequence[StoredState], log_end: int, now_ms: int) -> list[EntityWrite]:
        keys, _, expiries, blobs = zip(*states, strict=True)
        offsets, _ = self._layout.peek(blobs)
        if int(offsets.max()) > log_end:
            raise SourceTruncated(
                f"the checkpoint holds events up to offset {int(offsets.max())}, but the topic ends at {log_end}"
            )
        ttls_ms = (None if at is None else max(1, at - now_ms) for at in expiries)
        return list(map(EntityWrite._make, zip(keys, blobs, repeat(True), map(len, blobs), ttls_ms)))

    def _next(self, writes: list[EntityWrite], duplicates: DuplicateWrite | None = None) -> None:
        """Scripts are on their way while the states of the next are read."""
        self._settle(_AHEAD)
        before = self._under_way[-1] if self._under_way else None

        def script() -> Script:
            if before is not None:
                before.result()  # it is done, since one thread sends all in order; what ended it ends this one too
            return self._fence.prepare(writes, duplicates=duplicates)

        self._under_way.append(self._send(script))

    def _settle(self, left: int = 0) -> None:
        while len(self._under_way) > left:
            self._under_way.popleft().result()


def _small(writes: list[EntityWrite]) -> Iterator[list[EntityWrite]]:
    """Parts of at most _BYTES, or of one state."""
    begin, size = 0, 0
    for i, write in enumerate(writes):
        size += write.length
        if size > _BYTES and i > begin:
            yield writes[begin:i]
            begin, size = i, write.length
    yield writes[begin:]
