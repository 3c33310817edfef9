"""Calls whose states are ready together are computed together, and each gets what it asked for and no more."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest

from freshet.engine.reader import Vectors
from freshet.serving.cache import AgingCache, State
from freshet.serving.reads import Answers, Reads
from freshet.stores.reader import Fetched, OnlineReader, Request
from tests.unit.serving.build import ACTIVITY, ORDERS, catalogue

CATALOGUE = catalogue(ACTIVITY, ORDERS)
SERVED = CATALOGUE.find("user-activity")
OTHER = CATALOGUE.find("user-orders")
NOW = 1_800_000_000_000


class Store:
    """Answers all that ask in one turn of the loop at once, as a shared round trip does."""

    def __init__(self) -> None:
        self._trip: asyncio.Task[None] | None = None

    async def fetch(self, requests: Sequence[Request]) -> list[Fetched]:
        if self._trip is None or self._trip.done():
            self._trip = asyncio.create_task(asyncio.sleep(0.01))
        await self._trip
        return [Fetched(b"no state" if key == "damaged" else None, True, True) for _, key in requests]


class Counted:
    """Reads, and of how many entities each computation was."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sizes: list[int] = []
        self.reads = Reads(cast(OnlineReader, Store()), AgingCache[State](0, 1), clock=lambda: NOW)
        compute = SERVED.reader.read

        def counting(keys: Sequence[str], blobs: Sequence[bytes | None], now_ms: int) -> Vectors:
            self.sizes.append(len(keys))
            return compute(keys, blobs, now_ms)

        monkeypatch.setattr(SERVED.reader, "read", counting)

    def ask(self, *calls: Sequence[str]) -> list[Answers]:
        async def together() -> list[Any]:
            return await asyncio.gather(*(self.reads.read({SERVED: keys}) for keys in calls))

        return [found[SERVED] for found in asyncio.run(together())]


@pytest.mark.parametrize("size", [1, 100])
def test_calls_that_wait_together_are_one_computation(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    counted = Counted(monkeypatch)
    calls = [[f"user_{call}_{i}" for i in range(size - 1)] + ["shared"] for call in range(3)]
    answers = counted.ask(*calls)
    assert counted.sizes == [3 * (size - 1) + 1]
    assert [list(found.rows) for found in answers] == calls
    assert len({id(block) for found in answers for block, _ in found.rows.values()}) == 1
    assert len({row for found in answers for _, row in found.rows.values()}) == counted.sizes[0]


def test_a_damaged_state_is_a_problem_of_those_who_asked_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with_it, without = Counted(monkeypatch).ask(["a", "damaged"], ["b", "a"])
    assert (list(with_it.rows), list(with_it.problems)) == (["a"], ["damaged"])
    assert with_it.problems["damaged"].code == "state_unreadable"
    assert (list(without.rows), without.problems) == (["b", "a"], {})


def test_what_fails_for_one_is_told_to_all_who_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    reads = Counted(monkeypatch).reads
    monkeypatch.setattr(SERVED.reader, "read", lambda *given: 1 / 0)

    async def together() -> list[Any]:
        asked = (reads.read({SERVED: ["a"]}), reads.read({SERVED: ["b"], OTHER: ["b"]}))
        return list(await asyncio.gather(*asked, return_exceptions=True))

    assert [type(found) for found in asyncio.run(together())] == [ZeroDivisionError] * 2


def test_a_caller_that_has_gone_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    reads = Counted(monkeypatch).reads

    async def together() -> list[str]:
        gone = asyncio.ensure_future(reads.read({SERVED: [f"user_{i}" for i in range(50)]}))
        stays = asyncio.ensure_future(reads.read({SERVED: ["a"]}))
        while not reads._ready:
            await asyncio.sleep(0)
        gone.cancel()
        return list((await stays)[SERVED].rows)

    assert asyncio.run(together()) == ["a"]
