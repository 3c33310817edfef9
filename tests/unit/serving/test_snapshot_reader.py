"""Recorded vectors are read by tasks of their own: whatever ends one of these, nobody waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from freshet.stores.postgres import HistoryDown
from freshet.stores.snapshots import Request, Snapshot, SnapshotReader

ASKED = [Request("alice", "activity", "0123456789"), Request("bob", "activity", "0123456789")]


@pytest.mark.parametrize("error", [RuntimeError("a mistake of the client"), asyncio.CancelledError()])
def test_whatever_the_client_raises_is_an_answer(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("freshet.stores.snapshots.REST_SECONDS", 0.01)
    reader = SnapshotReader("postgresql://nobody.invalid/none")

    async def fails(batch: Sequence[Request]) -> list[Snapshot | None]:
        raise error

    async def answers(batch: Sequence[Request]) -> list[Snapshot | None]:
        return [Snapshot(1, 2, "{}") for _ in batch]

    async def run() -> None:
        monkeypatch.setattr(reader, "_query", fails)
        with pytest.raises(HistoryDown, match=type(error).__name__):
            await reader.fetch(ASKED)
        monkeypatch.setattr(reader, "_query", answers)
        await asyncio.sleep(0.05)
        assert await reader.fetch(ASKED) == [Snapshot(1, 2, "{}")] * 2

    asyncio.run(run())
