"""Removes the rows of erased entities, soon after their erasure is known. In a thread and connection of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Mapping

import psycopg

from freshet.recorder.erase import sweep
from freshet.stores.postgres import HistoryDown, connect, describe

log = logging.getLogger(__name__)

_EVERY_SECONDS = 1.0
_LONGEST_WAIT_SECONDS = 30.0


class Sweeper:
    """Looks once a second; any number of recorders may do it, one at a time does the work."""

    def __init__(self, url: str, readers: Callable[[], Mapping[str, Collection[str]]]) -> None:
        """`readers` gives the names of the FeatureSets by source topic."""
        self._url = url
        self._readers = readers
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweeper", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends after the step that is under way."""
        self._stop.set()
        self._thread.join(10)

    def _run(self) -> None:
        wait = _EVERY_SECONDS
        while not self._stop.wait(wait):
            try:
                self._sweep_until_failure()
            except (HistoryDown, psycopg.Error) as error:
                wait = min(2 * wait, _LONGEST_WAIT_SECONDS)
                sentence = describe(error) if isinstance(error, psycopg.Error) else str(error)
                log.warning("erased rows could not be removed yet", extra={"error": sentence})
            else:
                wait = _EVERY_SECONDS

    def _sweep_until_failure(self) -> None:
        with connect(self._url, autocommit=True) as connection:
            while not self._stop.is_set():
                sweep(connection, self._readers())
                self._stop.wait(_EVERY_SECONDS)
