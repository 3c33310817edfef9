"""Serving's reads on a real server and a real cluster: shared round trips, failures, recovery."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from freshet.dev.servers import EmbeddedValkey
from freshet.engine.state import Write
from freshet.spec import naming
from freshet.stores.fence import PartitionFence
from freshet.stores.reader import Fetched, OnlineReader
from freshet.stores.redis import Client, StoreDown, connect

pytestmark = pytest.mark.server

TAGS = [naming.tag("shop", "activity", "0123456789", partition) for partition in range(6)]


@asynccontextmanager
async def opened(url: str, max_keys: int = 500) -> AsyncIterator[OnlineReader]:
    reader = OnlineReader(url, max_keys=max_keys)
    try:
        yield reader
    finally:
        await reader.close()


def fill(client: Client, tag: str, states: dict[str, bytes], *, complete: bool = True) -> None:
    fence = PartitionFence(client, tag)
    fence.take_over(0, "t")
    writes = [Write(key, blob, True, len(blob), None) for key, blob in states.items()]
    fence.send(fence.prepare(writes, move_to=1, complete=complete))


def mgets(client: Client) -> int:
    stats = client.info("commandstats")
    nodes = [stats] if "cmdstat_ping" in stats or "cmdstat_mget" in stats else [s for s in stats.values() if s]
    return sum(int(node["cmdstat_mget"]["calls"]) for node in nodes if "cmdstat_mget" in node)


def test_states_come_with_their_partitions_progress(store_url: str, client: Client) -> None:
    fill(client, TAGS[0], {"a": b"1", "é \x01": bytes(range(256))})
    fill(client, TAGS[1], {"a": b"3"}, complete=False)

    async def run() -> None:
        async with opened(store_url) as reader:
            asked = [(TAGS[2], "a"), (TAGS[0], "é \x01"), (TAGS[1], "a"), (TAGS[0], "none"), (TAGS[0], "a")]
            assert await reader.fetch(asked) == [
                Fetched(None, complete=False, started=False),
                Fetched(bytes(range(256)), complete=True, started=True),
                Fetched(b"3", complete=False, started=True),
                Fetched(None, complete=True, started=True),
                Fetched(b"1", complete=True, started=True),
            ]
            assert await reader.fetch([]) == []
            with pytest.raises(ValueError, match="surrogates"):
                await reader.fetch([(TAGS[0], "\udc80")])

    asyncio.run(run())


@pytest.mark.parametrize("max_keys", [1, 3, 500])
def test_everybody_gets_their_own_answer(store_url: str, client: Client, max_keys: int) -> None:
    for p, tag in enumerate(TAGS):
        fill(client, tag, {f"k{i}": b"%d-%d" % (p, i) for i in range(20)})

    async def one(reader: OnlineReader, n: int) -> None:
        places = [((n + j) % len(TAGS), (7 * n + j) % 20) for j in range(n % 5 + 1)]
        found = await reader.fetch([(TAGS[p], f"k{i}") for p, i in places])
        assert [f.blob for f in found] == [b"%d-%d" % place for place in places]

    async def run() -> None:
        async with opened(store_url, max_keys) as reader:
            await asyncio.gather(*(one(reader, n) for n in range(200)))

    asyncio.run(run())


def test_waiting_callers_share_round_trips(store_url: str, client: Client) -> None:
    fill(client, TAGS[0], {f"k{i}": b"x" for i in range(100)})

    async def run() -> None:
        async with opened(store_url) as reader:
            await reader.fetch([(TAGS[0], "k0")])
            before = mgets(client)
            first = asyncio.ensure_future(reader.fetch([(TAGS[0], "k0")]))
            await asyncio.sleep(0)  # it is asked before the others
            await asyncio.sleep(0)
            found = await asyncio.gather(*(reader.fetch([(TAGS[0], f"k{i}")]) for i in range(100)))
            assert all(one[0].blob == b"x" for one in [*found, await first])
            assert mgets(client) - before <= 2

    asyncio.run(run())


def test_a_caller_that_goes_away_disturbs_nobody(store_url: str, client: Client) -> None:
    fill(client, TAGS[0], {"a": b"1"})

    async def run() -> None:
        async with opened(store_url) as reader:
            for _ in range(20):
                tasks = [asyncio.ensure_future(reader.fetch([(TAGS[0], "a")])) for _ in range(10)]
                await asyncio.sleep(0)
                for task in tasks[::2]:
                    task.cancel()
                for task in tasks[1::2]:
                    assert (await task)[0].blob == b"1"

    asyncio.run(run())


def test_a_store_that_fails_is_down_for_all_waiting_and_returns(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(server.url) as reader:
            assert (await reader.fetch([(TAGS[0], "a")]))[0].blob == b"1"
            server.kill()
            failed = await asyncio.gather(
                *(reader.fetch([(TAGS[p % 6], "a")]) for p in range(20)), return_exceptions=True
            )
            assert all(isinstance(one, StoreDown) for one in failed)
            server.start()
            assert (await reader.fetch([(TAGS[0], "a")])) == [Fetched(None, complete=False, started=False)]

    with EmbeddedValkey(tmp_path) as server:
        with connect(server.url) as client:
            fill(client, TAGS[0], {"a": b"1"})
        asyncio.run(run())


def test_a_store_that_hangs_is_down_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("freshet.stores.reader.READ_SECONDS", 0.2)

    async def run() -> None:
        async with opened(server.url) as reader:
            await reader.fetch([(TAGS[0], "a")])
            with connect(server.url) as client:
                client.client_pause(600)
            with pytest.raises(StoreDown, match="in time"):
                await reader.fetch([(TAGS[0], "a")])
            await asyncio.sleep(0.8)
            assert len(await reader.fetch([(TAGS[0], "a")])) == 1

    with EmbeddedValkey(tmp_path) as server:
        asyncio.run(run())


def test_of_a_silent_store_one_caller_at_a_time_finds_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("freshet.stores.reader.READ_SECONDS", 0.2)

    async def waits(reader: OnlineReader, key: str) -> float:
        began = asyncio.get_running_loop().time()
        with pytest.raises(StoreDown):
            await reader.fetch([(TAGS[0], key)])
        return asyncio.get_running_loop().time() - began

    async def run() -> None:
        async with opened(server.url) as reader:
            await reader.fetch([(TAGS[0], "a")])
            with connect(server.url) as client:
                client.client_pause(2000)
            await asyncio.gather(*(waits(reader, str(i)) for i in range(5)))
            assert max([await waits(reader, "a") for _ in range(5)]) < 0.05
            await asyncio.sleep(0.3)
            found = sorted(await asyncio.gather(*(waits(reader, str(i)) for i in range(5))))
            assert found[-2] < 0.05 < 0.15 < found[-1]
            await asyncio.sleep(2)
            assert len(await reader.fetch([(TAGS[0], "a")])) == 1

    with EmbeddedValkey(tmp_path) as server:
        asyncio.run(run())


@pytest.mark.parametrize("error", [RuntimeError("a mistake of the client"), asyncio.CancelledError()])
def test_whatever_the_client_raises_is_an_answer(
    store_url: str, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object) -> None:
        await asyncio.sleep(0)
        raise error

    async def run() -> None:
        async with opened(store_url) as reader:
            with monkeypatch.context() as patched:
                patched.setattr(reader._client, "execute_command", fails)
                asked = [reader.fetch([(TAGS[0], str(i))]) for i in range(5)]
                found = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 5)
                assert all(isinstance(one, StoreDown) for one in found)
            assert len(await reader.fetch([(TAGS[0], "a")])) == 1

    asyncio.run(run())


def test_a_client_that_never_ends_is_given_up(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("freshet.stores.reader.READ_SECONDS", 0.05)

    async def sleeps(*_: object) -> None:
        await asyncio.sleep(60)

    async def run() -> None:
        async with opened(store_url) as reader:
            with monkeypatch.context() as patched:
                patched.setattr(reader._client, "execute_command", sleeps)
                with pytest.raises(StoreDown, match="in time"):
                    await asyncio.wait_for(reader.fetch([(TAGS[0], "a")]), 5)
            await asyncio.sleep(0.3)
            assert len(await reader.fetch([(TAGS[0], "a")])) == 1

    asyncio.run(run())


def test_closing_answers_those_who_wait(store_url: str) -> None:
    async def run() -> None:
        reader = OnlineReader(store_url)
        asked = [asyncio.ensure_future(reader.fetch([(TAGS[0], str(i))])) for i in range(5)]
        await asyncio.sleep(0)
        await reader.close()
        assert all(isinstance(one, StoreDown) for one in await asyncio.gather(*asked, return_exceptions=True))

    asyncio.run(run())
