"""What a restoring sends: small scripts, and nothing behind one that failed."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import numpy as np
import pytest

from freshet.engine.state import Write
from freshet.processor.rebuild import Rebuild
from freshet.processor.restore import Restore
from freshet.stores.fence import Script, StoreFull
from freshet.stores.states import Checkpoint, StoredState


class Fence:
    """Remembers what was prepared; the store is full at one script."""

    def __init__(self, full_at: int | None = None) -> None:
        self.prepared: list[list[int]] = []
        """Sizes of the states that stay."""
        self.ending: list[Write] = []
        self._full_at = full_at

    def prepare(self, writes: Sequence[Write], *, lasting: Any = ((), ()), **_: Any) -> Script:
        self.ending += writes
        self.prepared.append([len(blob) for blob in lasting[1]])
        return cast(Script, len(self.prepared) - 1)

    def send(self, script: Script) -> None:
        if cast(Any, script) == self._full_at:
            raise StoreFull("the store is full")


def staying(blobs: Sequence[bytes]) -> list[StoredState]:
    return [StoredState(f"u{i}", 0, None, blob) for i, blob in enumerate(blobs)]


def restore(fence: Fence, states: Sequence[StoredState], now_ms: int = 0) -> None:
    def parts(_: int, count: int) -> Generator[Sequence[StoredState], None, None]:
        for begin in range(0, len(states), count):
            yield states[begin : begin + count]

    snapshot: Any = SimpleNamespace(checkpoint=Checkpoint(UUID(int=1), 7, None), states=parts)
    layout: Any = SimpleNamespace(peek=lambda blobs: (np.zeros(len(blobs), np.int64), None))
    Restore(cast(Any, fence), layout, fence.send, Rebuild(), keys=10).run(snapshot, 7, 100, now_ms)


def test_nothing_is_prepared_behind_a_script_that_failed() -> None:
    fence = Fence(full_at=2)
    with pytest.raises(StoreFull):
        restore(fence, staying([b"x"] * 100))
    assert len(fence.prepared) == 3


def test_a_script_of_large_states_is_no_larger_than_one_of_many() -> None:
    fence = Fence()
    sizes = [600_000, 400_000, 100_000, 3_000_000, 10, 10]
    restore(fence, staying([bytes(size) for size in sizes]))
    assert fence.prepared == [[600_000, 400_000], [100_000], [3_000_000], [10, 10], []]


def test_a_state_that_ends_some_time_still_does() -> None:
    fence = Fence()
    ending = StoredState("until 90", 0, 90, b"bc")
    restore(fence, [*staying([b"a"]), ending, *staying([b"d"])], now_ms=40)
    assert fence.prepared[0] == [1, 1]
    assert fence.ending == [Write("until 90", b"bc", True, 2, 50)]
