"""Keeps the tables' partitions: ahead of time, and no longer than asked for. In a thread and connection of its own."""

from __future__ import annotations

import logging
from concurrent.futures import Future, ThreadPoolExecutor

import psycopg

from freshet.recorder.days import maintain
from freshet.recorder.topics import Retention
from freshet.runtime.clock import now_ms
from freshet.stores.postgres import HistoryDown, connect, describe

log = logging.getLogger(__name__)

_EVERY_MS = 300_000
_AGAIN_MS = 10_000


class Keeper:
    """Runs now and then; any number of recorders may do it at once."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._thread = ThreadPoolExecutor(1, "keeper")
        self._running: Future[None] | None = None
        self._at_ms = 0

    def step(self, steady_ms: int, retention: Retention, *, up: bool) -> None:
        """Begins if it is time and the database is `up`; never waits."""
        if self._running is not None:
            if not self._running.done():
                return
            running, self._running = self._running, None
            try:
                running.result()
            except HistoryDown as error:
                log.warning("partitions of history could not be kept", extra={"error": str(error)})
                self._at_ms = steady_ms + _AGAIN_MS
        if up and steady_ms >= self._at_ms:
            self._at_ms = steady_ms + _EVERY_MS
            self._running = self._thread.submit(self._run, retention)

    def close(self) -> None:
        """Waits for what is under way: its statements are bounded."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _run(self, retention: Retention) -> None:
        connection = connect(self._url, autocommit=True)
        try:
            maintain(connection, now_ms(), retention)
        except psycopg.Error as error:
            raise HistoryDown(describe(error)) from error
        finally:
            connection.close()
