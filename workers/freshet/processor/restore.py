"""Bringing the states of a checkpoint back into the store, under the fence (decision 8)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing

from freshet.engine.layout import Layout
from freshet.engine.state import Write
from freshet.processor.partition import SourceTruncated
from freshet.processor.rebuild import Rebuild
from freshet.stores.fence import DuplicateWrite, PartitionFence, Script
from freshet.stores.states import Snapshot, StoredState

Send = Callable[[Script], None]
"""Sends a script, or raises what ends the restoring."""


_KEYS = 500
"""States of one script: they block the store for about a millisecond."""
_BYTES = 1 << 20
"""The same for large states."""


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
            self._write([], now_ms, DuplicateWrite({}, [], index))
            for minute, data in snapshot.buckets():
                self._write([], now_ms, DuplicateWrite({minute: data}, [], index))
        # Closed whatever happens: a database connection in the middle of a query cannot end its transaction.
        with closing(snapshot.states(now_ms, self._keys)) as parts:
            for part in parts:
                for states in _small(part):
                    self._check(states, log_end)
                    self._write(states, now_ms)
                self._rebuild.restored(len(part))
        self._send(self._fence.prepare([], move_to=offset, complete=False))

    def _check(self, states: Sequence[StoredState], log_end: int) -> None:
        offsets, _ = self._layout.peek([state.blob for state in states])
        if int(offsets.max()) > log_end:
            raise SourceTruncated(
                f"the checkpoint holds events up to offset {int(offsets.max())}, but the topic ends at {log_end}"
            )

    def _write(self, states: Sequence[StoredState], now_ms: int, duplicates: DuplicateWrite | None = None) -> None:
        ending = [
            Write(key, blob, True, len(blob), max(1, at - now_ms)) for key, _, at, blob in states if at is not None
        ]
        lasting = [state for state in states if state.expires_ms is None] if ending else states
        columns = [state.key for state in lasting], [state.blob for state in lasting]
        self._send(self._fence.prepare(ending, duplicates=duplicates, lasting=columns))


def _small(states: Sequence[StoredState]) -> Iterator[Sequence[StoredState]]:
    """Parts of at most _BYTES, or of one state."""
    begin, size = 0, 0
    for i, state in enumerate(states):
        size += len(state.blob)
        if size > _BYTES and i > begin:
            yield states[begin:i]
            begin, size = i, len(state.blob)
    yield states[begin:]
