"""What a restoring sends: small scripts, and nothing behind one that failed."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import numpy as np
import pytest

from freshet.processor.rebuild import Rebuild
from freshet.processor.restore import Restore
from freshet.stores.fence import EntityWrite, Script, StoreFull
from freshet.stores.states import Checkpoint, StoredState


class Fence:
    """Remembers what was prepared; the store is full at one script."""

    def __init__(self, full_at: int | None = None) -> None:
        self.prepared: list[list[EntityWrite]] = []
        self._full_at = full_at

    def prepare(self, writes: Sequence[EntityWrite], **_: Any) -> Script:
        self.prepared.append(list(writes))
        return cast(Script, len(self.prepared) - 1)

    def send(self, script: Script) -> None:
        if cast(Any, script) == self._full_at:
            raise StoreFull("the store is full")


def restore(fence: Fence, blobs: Sequence[bytes]) -> None:
    states = [StoredState(f"u{i}", 0, None, blob) for i, blob in enumerate(blobs)]

    def parts(_: int, count: int) -> Generator[list[StoredState], None, None]:
        for begin in range(0, len(states), count):
            yield states[begin : begin + count]

    snapshot: Any = SimpleNamespace(checkpoint=Checkpoint(UUID(int=1), 7, None), states=parts)
    layout: Any = SimpleNamespace(peek=lambda blobs: (np.zeros(len(blobs), np.int64), None))
    with ThreadPoolExecutor(1) as io:

        def send(script: Callable[[], Script]) -> Future[None]:
            return io.submit(lambda: fence.send(script()))

        Restore(cast(Any, fence), layout, send, Rebuild(), keys=10).run(snapshot, 7, 100, 0)


def test_nothing_is_prepared_behind_a_script_that_failed() -> None:
    fence = Fence(full_at=2)
    with pytest.raises(StoreFull):
        restore(fence, [b"x"] * 100)
    assert len(fence.prepared) == 3


def test_a_script_of_large_states_is_no_larger_than_one_of_many() -> None:
    fence = Fence()
    sizes = [600_000, 400_000, 100_000, 3_000_000, 10, 10]
    restore(fence, [bytes(size) for size in sizes])
    assert [[write.length for write in writes] for writes in fence.prepared] == [
        [600_000, 400_000],
        [100_000],
        [3_000_000],
        [10, 10],
        [],
    ]
