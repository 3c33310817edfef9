"""Bringing the states of a checkpoint back into the store, under the fence (decision 8)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import closing

from freshet.engine.layout import Layout
from freshet.processor.partition import SourceTruncated
from freshet.processor.rebuild import Rebuild
from freshet.stores.fence import DuplicateWrite, EntityWrite, PartitionFence, Script
from freshet.stores.states import Snapshot, StoredState

Send = Callable[[Script], Future[None]]
"""Sends a script where all scripts are sent, in order."""


class Restore:
    """One restoring: from a partition that is marked as `restoring` to one that is at the checkpoint's offset."""

    def __init__(self, fence: PartitionFence, layout: Layout, send: Send, rebuild: Rebuild, *, keys: int = 200) -> None:
        """`keys` are the states of one script: 200 block the store for about a millisecond."""
        self._fence = fence
        self._layout = layout
        self._send = send
        self._rebuild = rebuild
        self._keys = keys
        self._under_way: Future[None] | None = None

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
        # Closed whatever happens: a database connection in the middle of a COPY cannot end its transaction.
        with closing(snapshot.states(now_ms, self._keys)) as parts:
            for part in parts:
                self._next(self._writes(part, log_end, now_ms))
                self._rebuild.restored(len(part))
        self._settle()
        self._send(self._fence.prepare([], move_to=offset, complete=False)).result()

    def _writes(self, states: Sequence[StoredState], log_end: int, now_ms: int) -> list[EntityWrite]:
        offsets, _ = self._layout.peek([state.blob for state in states])
        if len(offsets) and int(offsets.max()) > log_end:
            raise SourceTruncated(
                f"the checkpoint holds events up to offset {int(offsets.max())}, but the topic ends at {log_end}"
            )
        return [
            EntityWrite(
                state.key,
                state.blob,
                True,
                len(state.blob),
                None if state.expires_ms is None else max(1, state.expires_ms - now_ms),
            )
            for state in states
        ]

    def _next(self, writes: list[EntityWrite], duplicates: DuplicateWrite | None = None) -> None:
        """One script is on its way while the states of the next are read."""
        self._settle()
        self._under_way = self._send(self._fence.prepare(writes, duplicates=duplicates))

    def _settle(self) -> None:
        if self._under_way is not None:
            done, self._under_way = self._under_way, None
            done.result()
