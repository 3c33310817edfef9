"""Newest recorded feature vectors, for answers while the online store cannot give one.

Nothing here may make a bad moment worse: few connections, short waits, few keys in the queue, and after a failure
everybody but one is refused for a second. Entities that are asked for at the same time share one statement.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import psycopg

from freshet.stores.postgres import HistoryDown, describe, parameters

CONNECTIONS = 2
KEYS_AT_ONCE = 100
"""Of one statement: 100 entities without a vector, looked for in 90 daily partitions, take about 20 ms."""
MAX_WAITING = 4 * 1000
"""Entities that wait at the same time: four full batches. More are refused at once."""
STATEMENT_MS = 300
ANSWER_SECONDS = 0.6
"""Longest wait of a caller, with connecting and with waiting for its turn."""
REST_SECONDS = 1.0
"""After a failure the database is left alone for so long."""
_RECENT = timedelta(days=2)

# Planning for 90 partitions takes longer than executing, so the plan is made once a connection, without the values.
_ALL = """
SELECT k.number, (extract(epoch FROM s.as_of) * 1000)::bigint, s.source_offset, s.features::text
FROM unnest(%s::text[], %s::text[], %s::text[]) WITH ORDINALITY AS k (entity, featureset, revision, number)
CROSS JOIN LATERAL (
    SELECT as_of, source_offset, features FROM feature_snapshots f
    WHERE f.entity = k.entity AND f.featureset = k.featureset AND f.revision = k.revision{recent}
    ORDER BY f.as_of DESC LIMIT 1
) AS s
"""
ALL = _ALL.format(recent="")
RECENT = _ALL.format(recent=" AND f.broker_time >= %s")
"""Asked first: nearly every entity that is read has a vector in the newest partitions, and all others are pruned."""

_log = logging.getLogger(__name__)


class Request(NamedTuple):
    """Whose vector of which FeatureSet."""

    entity: str
    featureset: str
    revision: str


class Snapshot(NamedTuple):
    """A recorded vector."""

    as_of_ms: int
    offset: int
    """It holds all of the entity's events below it."""
    features: str
    """JSON object of feature name → value."""


class SnapshotReader:
    """Reads snapshots. Made anywhere, used on one event loop; reconnects by itself."""

    def __init__(self, url: str) -> None:
        """Nothing is sent before the first read."""
        self._url = url
        self._asked: dict[Request, asyncio.Future[Snapshot | HistoryDown | None]] = {}
        self._queue: deque[Request] = deque()
        self._workers: set[asyncio.Task[None]] = set()
        self._idle: list[psycopg.AsyncConnection] = []
        self._resting_until = 0.0

    async def fetch(self, requests: Sequence[Request]) -> list[Snapshot | None]:
        """The newest vector of each, or None. Raises HistoryDown if that cannot be known within `ANSWER_SECONDS`."""
        self._admit(len(requests))
        waiting = [self._enqueue(request) for request in requests]
        done, _ = await asyncio.wait(waiting, timeout=ANSWER_SECONDS)
        if len(done) < len(set(waiting)):
            raise self._failed(HistoryDown(f"PostgreSQL: no answer within {ANSWER_SECONDS:g} s"))
        found: list[Snapshot | None] = []
        for one in waiting:
            result = one.result()
            if isinstance(result, HistoryDown):
                raise result
            found.append(result)
        return found

    async def ping(self) -> None:
        """Raises HistoryDown if the database or its tables cannot be read now."""
        await self.fetch([Request("", "", "")])

    async def close(self) -> None:
        """Ends all reads and closes the connections."""
        workers = list(self._workers)
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        for request in list(self._asked):
            self._resolve(request, HistoryDown("the reader was closed"))
        while self._idle:
            await self._idle.pop().close()

    def _admit(self, count: int) -> None:
        now = asyncio.get_running_loop().time()
        if now < self._resting_until:
            raise HistoryDown("PostgreSQL has failed a moment ago and is left alone")
        if len(self._asked) + count > MAX_WAITING:
            raise HistoryDown(f"PostgreSQL: {len(self._asked)} entities wait for it already")
        if self._resting_until:
            # One caller finds out whether it is back; success ends the rest for all.
            self._resting_until = now + REST_SECONDS

    def _failed(self, error: HistoryDown) -> HistoryDown:
        now = asyncio.get_running_loop().time()
        if not self._resting_until:
            _log.warning("snapshots cannot be read", extra={"error": str(error)})
        self._resting_until = now + REST_SECONDS
        return error

    def _enqueue(self, request: Request) -> asyncio.Future[Snapshot | HistoryDown | None]:
        found = self._asked.get(request)
        if found is None:
            loop = asyncio.get_running_loop()
            found = self._asked[request] = loop.create_future()
            self._queue.append(request)
            if len(self._workers) < CONNECTIONS:
                worker = loop.create_task(self._work())
                self._workers.add(worker)
                worker.add_done_callback(self._workers.discard)
        return found

    def _resolve(self, request: Request, result: Snapshot | HistoryDown | None) -> None:
        waiting = self._asked.pop(request, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(result)

    async def _work(self) -> None:
        """Answers what is asked until nothing is."""
        while self._queue:
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), KEYS_AT_ONCE))]
            try:
                found = await self._query(batch)
            except HistoryDown as error:
                self._give_up(batch, error)
            except BaseException as error:
                # Who asks for the same later would wait for this worker's answer.
                self._give_up(batch, HistoryDown(f"PostgreSQL: {type(error).__name__}"))
                raise
            else:
                if self._resting_until:
                    _log.info("snapshots can be read again")
                self._resting_until = 0.0
                for request, snapshot in zip(batch, found, strict=True):
                    self._resolve(request, snapshot)

    def _give_up(self, batch: list[Request], error: HistoryDown) -> None:
        self._failed(error)
        batch += self._queue  # those would only wait for the same
        self._queue.clear()
        for request in batch:
            self._resolve(request, error)

    async def _query(self, batch: Sequence[Request]) -> list[Snapshot | None]:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                while self._idle:
                    try:
                        return await self._ask(self._idle.pop(), batch)
                    except psycopg.OperationalError as error:
                        if isinstance(error, psycopg.errors.QueryCanceled):
                            raise
                        # A restart of the server ends the connections that were idle; reading again is harmless.
                return await self._ask(await self._connect(), batch)
        except psycopg.Error as error:
            raise HistoryDown(describe(error)) from error
        except TimeoutError:
            raise HistoryDown(f"PostgreSQL: no answer within {ANSWER_SECONDS:g} s") from None

    async def _ask(self, connection: psycopg.AsyncConnection, batch: Sequence[Request]) -> list[Snapshot | None]:
        """Takes the connection: it is idle afterwards, or closed if anything failed on it."""
        try:
            found = await _look(connection, batch, RECENT, (datetime.now(UTC) - _RECENT,))
            missing = [index for index, one in enumerate(found) if one is None]
            if missing:
                older = await _look(connection, [batch[index] for index in missing], ALL, ())
                for index, one in zip(missing, older, strict=True):
                    found[index] = one
        except BaseException:
            await connection.close()
            raise
        self._idle.append(connection)
        return found

    async def _connect(self) -> psycopg.AsyncConnection:
        settings = parameters(STATEMENT_MS, plan_cache_mode="force_generic_plan", default_transaction_read_only="on")
        return await psycopg.AsyncConnection.connect(self._url, autocommit=True, prepare_threshold=0, **settings)


async def _look(
    connection: psycopg.AsyncConnection, batch: Sequence[Request], statement: str, more: tuple[datetime, ...]
) -> list[Snapshot | None]:
    found: list[Snapshot | None] = [None] * len(batch)
    columns = [list(column) for column in zip(*batch, strict=True)]
    cursor = await connection.execute(statement.encode(), (*columns, *more), binary=True)
    for number, as_of_ms, offset, features in await cursor.fetchall():
        found[number - 1] = Snapshot(as_of_ms, offset, features)
    return found
