"""The work queue: each key once, one worker at a time, delays, backoff."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from freshet_operator.model import Key
from freshet_operator.queue import LONGEST_BACKOFF_SECONDS, WorkQueue

A = Key("FeatureSet", "shop", "a")
B = Key("FeatureSet", "shop", "b")


async def taken(queue: WorkQueue) -> Key:
    key = await asyncio.wait_for(queue.get(), 1)
    assert key is not None
    return key


def test_a_key_added_many_times_comes_once() -> None:
    async def run() -> None:
        queue = WorkQueue()
        for _ in range(5):
            queue.add(A)
        queue.add(B)
        assert [await taken(queue), await taken(queue)] == [A, B]
        assert queue.depth == 0

    asyncio.run(run())


def test_a_key_at_work_waits_until_it_is_given_back() -> None:
    async def run() -> None:
        queue = WorkQueue()
        queue.add(A)
        await taken(queue)
        queue.add(A)
        assert queue.depth == 0
        queue.done(A)
        assert await taken(queue) == A

    asyncio.run(run())


def test_the_earliest_of_several_times_counts() -> None:
    async def run() -> None:
        queue = WorkQueue()
        queue.add(A, 60)
        queue.add(A, 0.02)
        queue.add(A, 30)
        assert await taken(queue) == A
        queue.done(A)
        await asyncio.sleep(0.05)
        assert queue.depth == 0

    asyncio.run(run())


def test_backoff_doubles_to_its_bound_and_starts_anew() -> None:
    async def run() -> None:
        queue = WorkQueue(jitter=lambda: 0.5)
        waits = []
        for _ in range(14):
            waits.append(queue.retry(A))
            queue._due.clear()
        assert waits[:4] == [0.5, 1, 2, 4]
        assert waits[-1] == LONGEST_BACKOFF_SECONDS
        queue.succeeded(A)
        assert queue.retry(A) == 0.5
        assert queue.retry(A, least=7) == 7

    asyncio.run(run())


def test_a_failing_key_is_not_hurried_by_its_own_traces_but_by_its_user() -> None:
    async def run() -> None:
        queue = WorkQueue()
        queue.add(A)
        await taken(queue)
        queue.retry(A, least=60)
        queue.done(A)
        queue.add(A)
        assert queue.depth == 0, "a change seen by the watch ends the backoff: a failing key would spin"
        queue.reset(A)
        assert await taken(queue) == A

    asyncio.run(run())


def test_a_time_does_not_make_a_key_dirty_and_a_change_does() -> None:
    async def run() -> None:
        now = 100.0
        queue = WorkQueue(clock=lambda: now)
        queue.add(A)
        assert queue.dirty_since(A) == 100
        now = 200.0
        queue.add(A, 5, dirty=False)
        assert queue.dirty_since(A) == 100
        queue.touch(A)
        assert queue.dirty_since(A) == 200
        queue.forget(A)
        assert queue.dirty_since(A) == 0

    asyncio.run(run())


def test_closing_wakes_every_worker() -> None:
    async def run() -> None:
        queue = WorkQueue()
        workers = [asyncio.create_task(queue.get()) for _ in range(3)]
        await asyncio.sleep(0)
        queue.close()
        assert await asyncio.wait_for(asyncio.gather(*workers), 1) == [None, None, None]

    asyncio.run(run())


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("adt"), st.sampled_from([A, B])), max_size=40))
def test_whatever_happens_no_key_is_lost_or_at_two_workers(steps: list[tuple[str, Key]]) -> None:
    """a: add, t: take (if one is ready), d: done (if at work). What was added after its last take comes."""

    async def run() -> None:
        queue = WorkQueue()
        wanted: set[Key] = set()
        at_work: set[Key] = set()
        for step, key in steps:
            if step == "a":
                queue.add(key)
                wanted.add(key)
            elif step == "t" and queue.depth:
                got = await taken(queue)
                assert got not in at_work
                at_work.add(got)
                wanted.discard(got)
            elif step == "d" and key in at_work:
                at_work.discard(key)
                queue.done(key)
        for key in at_work:
            queue.done(key)
        assert {await taken(queue) for _ in range(queue.depth)} == wanted

    asyncio.run(run())
