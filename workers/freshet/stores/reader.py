"""Reads of entity states for serving: callers that wait at the same time share one round trip.

redis-py's asyncio client costs well over 100 µs of CPU a call, an MGET of many keys hardly more than one of a single
key. So each lane (the store, or one partition's shard of a cluster) has one MGET in flight, and the requests that
arrive meanwhile form the next. There is no timer: a lone request waits for nobody. After a read to which no reply came
in time, one at a time tries again, and the others are told at once: they have a stale answer or a 503 to give.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import redis.asyncio
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as Unreachable

from freshet.spec import naming
from freshet.stores.fence import Progress
from freshet.stores.redis import Failures, StoreDown, address, describe

__all__ = ["Fetched", "OnlineReader", "StoreDown"]

MAX_KEYS = 500
"""Entities of one MGET: a long one makes the requests behind it wait."""
READ_SECONDS = 1.0
"""Longest wait for a connection or a reply; a reader has a stale answer or a 503 to give, an owner has not."""
_STEPS = 4
"""Of an MGET, that may each take as long: connecting, a reply, both once more. The client bounds only single steps."""
_REST_SECONDS = 0.25
"""Between two attempts at a store that is silent."""

_log = logging.getLogger(__name__)


class Fetched(NamedTuple):
    """One entity as the store had it."""

    blob: bytes | None
    """None: it has no state."""
    complete: bool
    """Whether its partition's states had reached the end of the log, read in the same moment as the blob."""
    started: bool
    """Whether its partition has progress at all."""


Request = tuple[str, str]
"""A partition's tag and an entity's key."""


_Place = tuple[str, bytes]
"""A partition's tag and the whole online key of an entity."""


@dataclass(slots=True, eq=False)
class _Waiting:
    places: Sequence[_Place]
    done: asyncio.Future[list[Fetched]]


@dataclass(slots=True, eq=False)
class _Lane:
    waiting: deque[_Waiting] = field(default_factory=deque)
    reading: Sequence[_Waiting] = ()
    task: asyncio.Task[None] | None = None
    silent: bool = False
    """Whether the last read waited for its reply in vain."""
    rests_until: float = 0.0
    """Where it is silent, nothing is sent before this time of the loop's clock."""


class OnlineReader:
    """Reads entity states. Made anywhere, used on one event loop; reconnects by itself."""

    def __init__(self, url: str, *, max_keys: int = MAX_KEYS) -> None:
        """`url` as `freshet.stores.redis.address` takes it (ValueError). Nothing is sent before the first read."""
        target = address(url)
        self._max_keys = max_keys
        self._lanes: dict[str, _Lane] = {}
        self._cluster = target.cluster
        # Repeating a read is harmless: one repetition hides a connection that died while it was idle.
        retry = Retry(NoBackoff(), 1, (Unreachable,))
        options = {**target.options, "socket_timeout": READ_SECONDS, "socket_connect_timeout": READ_SECONDS}
        self._client: redis.asyncio.Redis | RedisCluster
        if target.cluster:
            nodes = [ClusterNode(host, port) for host, port in target.hosts]
            self._client = RedisCluster(startup_nodes=nodes, retry=retry, reinitialize_steps=0, **options)
        else:
            host, port = target.hosts[0]
            self._client = redis.asyncio.Redis(host=host, port=port, retry=retry, **options)

    async def fetch(self, requests: Sequence[Request]) -> list[Fetched]:
        """The states of entities, in the order asked. Raises StoreDown if one of them could not be read.

        Raises ValueError for a key with an unpaired surrogate, which no stored key can have.
        """
        places = [(tag, naming.entity_key(tag, key).encode()) for tag, key in requests]
        if not self._cluster and 0 < len(places) <= self._max_keys:
            return await self._enqueue("", places)
        lanes: dict[str, list[int]] = {}
        for i, (tag, _) in enumerate(requests):
            lanes.setdefault(tag if self._cluster else "", []).append(i)
        parts = [
            (name, indices[begin : begin + self._max_keys])
            for name, indices in lanes.items()
            for begin in range(0, len(indices), self._max_keys)
        ]
        answers = [self._enqueue(name, [places[i] for i in indices]) for name, indices in parts]
        # Every answer is waited for, so that no failed one is left behind unseen.
        results = await asyncio.gather(*answers, return_exceptions=True)
        found: list[Any] = [None] * len(requests)
        for (_, indices), result in zip(parts, results, strict=True):
            if isinstance(result, BaseException):
                raise result
            for i, item in zip(indices, result, strict=True):
                found[i] = item
        return found

    async def close(self) -> None:
        """Ends all reads (those waiting raise StoreDown) and closes the connections."""
        tasks = [lane.task for lane in self._lanes.values() if lane.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for lane in self._lanes.values():
            for waiting in (*lane.reading, *lane.waiting):
                _refuse(waiting, "the reader was closed")
        self._lanes.clear()
        await self._client.aclose()

    def _enqueue(self, name: str, places: Sequence[_Place]) -> asyncio.Future[list[Fetched]]:
        loop = asyncio.get_running_loop()
        lane = self._lanes.setdefault(name, _Lane())
        waiting = _Waiting(places, loop.create_future())
        if lane.silent and (lane.task is not None or loop.time() < lane.rests_until):
            _refuse(waiting, "the store has not answered a moment ago")
            return waiting.done
        lane.waiting.append(waiting)
        if lane.task is None:
            lane.task = loop.create_task(self._drain(lane))
        return waiting.done

    async def _drain(self, lane: _Lane) -> None:
        clock = asyncio.get_running_loop().time
        try:
            while lane.waiting:
                lane.reading = self._next(lane.waiting)
                began = clock()
                answered = await self._read(lane.reading)
                lane.silent = not answered and clock() - began >= READ_SECONDS / 2
                if lane.silent:
                    lane.rests_until = clock() + _REST_SECONDS
                    while lane.waiting:
                        _refuse(lane.waiting.popleft(), "the store does not answer")
        finally:
            lane.task = None
            # Nobody else would answer them, whatever it is that ends this task.
            for one in (*lane.reading, *lane.waiting):
                _refuse(one, "its reading was ended")
            lane.reading = ()
            lane.waiting.clear()

    def _next(self, waiting: deque[_Waiting]) -> list[_Waiting]:
        """The callers of the next MGET: as many as fit, at least one that still waits."""
        batch: list[_Waiting] = []
        size = 0
        while waiting and (not batch or size + len(waiting[0].places) <= self._max_keys):
            one = waiting.popleft()
            if not one.done.done():  # else its caller was cancelled
                batch.append(one)
                size += len(one.places)
        return batch

    async def _read(self, batch: Sequence[_Waiting]) -> bool:
        """One MGET; sets every future of the batch. Returns whether there was a good reply."""
        tags = dict.fromkeys(tag for waiting in batch for tag, _ in waiting.places)
        entities = dict.fromkeys(key for waiting in batch for _, key in waiting.places)
        try:
            values = await self._mget([*(naming.progress_key(tag).encode() for tag in tags), *entities])
            progress = [None if value is None else Progress.parse(value) for value in values[: len(tags)]]
        except Exception as error:
            if not isinstance(error, (*Failures, ValueError)):
                _log.exception("the store's client failed")
            for waiting in batch:
                _refuse(waiting, describe(error))
            return False
        complete = {tag: at is not None and at.complete for tag, at in zip(tags, progress, strict=True)}
        started = {tag: at is not None for tag, at in zip(tags, progress, strict=True)}
        blobs = dict(zip(entities, values[len(tags) :], strict=True))
        for waiting in batch:
            if not waiting.done.done():
                found = [Fetched(blobs[key], complete[tag], started[tag]) for tag, key in waiting.places]
                waiting.done.set_result(found)
        return True

    async def _mget(self, keys: Sequence[bytes]) -> list[bytes | None]:
        async with asyncio.timeout(_STEPS * READ_SECONDS):
            if isinstance(self._client, RedisCluster):
                # A command that comes before the slots are known goes to any node, and the MOVED replies to many such
                # commands make the client close the connections of the others.
                await self._client.initialize()
            found: list[bytes | None] = await self._client.execute_command("MGET", *keys)
        return found


def _refuse(waiting: _Waiting, why: str) -> None:
    if not waiting.done.done():
        waiting.done.set_exception(StoreDown(why))
