"""Leader election: one at a time, by each one's own clock."""

from __future__ import annotations

import asyncio
from typing import Any

from freshet_operator.api.client import Client
from freshet_operator.lease import Lease
from tests.operator.fake_api import FakeApi, client_of, fake_api

PATH = "/apis/coordination.k8s.io/v1/namespaces/op/leases/l"


class Clock:
    """A monotonic clock that tests turn."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def lease(client: Client, identity: str, clock: Clock, **options: Any) -> Lease:
    return Lease(client, "op", "l", identity, clock=clock, **options)


def holder(api: FakeApi) -> str:
    return str(api.objects[PATH]["spec"]["holderIdentity"])


def test_the_first_leads_and_the_second_waits_until_it_is_released() -> None:
    async def run() -> None:
        async with fake_api() as api, client_of(api) as client:
            clock = Clock()
            first, second = lease(client, "a", clock), lease(client, "b", clock)
            assert await first._attempt()
            assert first.holds()
            assert not await second._attempt()
            assert not second.holds()
            await first.release()
            assert not first.holds()
            assert await second._attempt()
            assert holder(api) == "b"
            assert api.objects[PATH]["spec"]["leaseTransitions"] == 1

    asyncio.run(run())


def test_a_dead_holder_is_replaced_after_the_duration_seen_by_the_followers_own_clock() -> None:
    async def run() -> None:
        async with fake_api() as api, client_of(api) as client:
            dead, living = lease(client, "a", Clock()), Clock()
            await dead._attempt()
            follower = lease(client, "b", living)
            assert not await follower._attempt()
            living.now += 14.9
            assert not await follower._attempt()
            living.now += 0.2
            assert await follower._attempt()
            assert holder(api) == "b"

    asyncio.run(run())


def test_a_holder_that_renews_is_never_replaced_however_wrong_its_clock_is() -> None:
    async def run() -> None:
        async with fake_api() as api, client_of(api) as client:
            stopped, living = Clock(), Clock()
            first, second = lease(client, "a", stopped), lease(client, "b", living)
            await first._attempt()
            for _ in range(20):
                living.now += 10
                assert not await second._attempt()
                assert await first._attempt()
            assert holder(api) == "a"

    asyncio.run(run())


def test_who_cannot_renew_stops_before_anybody_may_take_over() -> None:
    async def run() -> None:
        async with fake_api() as api, client_of(api) as client:
            clock = Clock()
            first = lease(client, "a", clock)
            await first._attempt()
            api.answers = [(503, {}, {})] * 20
            clock.now += 9.9
            assert not await first._attempt()
            assert first.holds()
            clock.now += 0.2
            assert not first.holds()

    asyncio.run(run())


def test_of_two_that_take_a_free_lease_at_once_one_gets_it() -> None:
    async def run() -> None:
        for _ in range(20):
            async with fake_api() as api, client_of(api) as client:
                clock = Clock()
                rivals = [lease(client, name, clock) for name in "abcd"]
                won = await asyncio.gather(*(rival._attempt() for rival in rivals))
                assert sum(won) == 1
                assert rivals[won.index(True)].holds()

    asyncio.run(run())


def test_keeping_ends_when_somebody_else_has_it() -> None:
    async def run() -> None:
        async with fake_api() as api, client_of(api) as client:
            first = lease(client, "a", Clock(), retry=0.01)
            await first.acquire()
            keeping = asyncio.create_task(first.keep())
            await asyncio.sleep(0.05)
            assert not keeping.done()
            api.objects[PATH]["spec"]["holderIdentity"] = "b"
            api.written(PATH)  # else a renewal on its way would take the Lease back
            await asyncio.wait_for(keeping, 2)
            assert not first.holds()

    asyncio.run(run())
