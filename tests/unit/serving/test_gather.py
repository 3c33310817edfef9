"""Whatever becomes of a read, those who wait for it get an answer."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from freshet.serving.catalogue import Served
from freshet.serving.gather import Gatherer
from freshet.serving.problems import Problem
from freshet.serving.reads import Answers, Reads
from freshet.serving.selection import Selection


class _Nothing:
    """A selection of no FeatureSet."""

    parts = ()
    key = "user_id"


class _Broken:
    """Reads of which the first ends otherwise than with answers."""

    def __init__(self, error: BaseException) -> None:
        self._errors = [error]

    async def read(self, wanted: Any) -> dict[Served, Answers]:
        await asyncio.sleep(0)
        if self._errors:
            raise self._errors.pop()
        return {}


@pytest.mark.parametrize(
    ("error", "raised"),
    [(RuntimeError("a mistake"), RuntimeError), (asyncio.CancelledError(), Problem)],
)
def test_a_read_that_ends_otherwise_is_an_answer(error: BaseException, raised: type[Exception]) -> None:
    async def run() -> None:
        gatherer = Gatherer(cast(Reads, _Broken(error)))
        selection = cast(Selection, _Nothing())
        first = gatherer.answer(selection, "alice", False)
        await asyncio.sleep(0)
        second = gatherer.answer(selection, "bob", False)
        with pytest.raises(raised):
            await asyncio.wait_for(first, 5)
        # Who came meanwhile shares the end of the task, or is read by it.
        if raised is Problem:
            with pytest.raises(Problem):
                await asyncio.wait_for(second, 5)
        else:
            assert await asyncio.wait_for(second, 5)
        assert await asyncio.wait_for(gatherer.answer(selection, "carol", False), 5)

    asyncio.run(run())
