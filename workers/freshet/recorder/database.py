"""The recorder's one connection to PostgreSQL. All of it runs in one thread, in order."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress

import numpy as np
import psycopg

from freshet.engine.duplicates import DuplicateFilter, event_hashes
from freshet.recorder import fence, writer
from freshet.recorder.fence import Taken
from freshet.recorder.rows import Place
from freshet.recorder.writer import Outcome, Part
from freshet.stores.postgres import HistoryDown, connect, describe, migrate

log = logging.getLogger(__name__)


class Database:
    """Connected or not; whatever fails makes it not, and only `open` connects again."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: psycopg.Connection | None = None
        self._days: set[tuple[str, int]] = set()

    def open(self) -> None:
        """Connects, and brings the schema to this version. Raises HistoryDown, NewerSchema."""
        self.close()
        for number in migrate(self._url):
            log.info("history was migrated", extra={"migration": number})
        self._connection = connect(self._url, autocommit=True, application=fence.APPLICATION)
        self._days.clear()

    def close(self) -> None:
        """Ends the connection, if there is one."""
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()
            self._connection = None

    def take_over(
        self, place: Place, log_start: int, log_end: int, deduplicate_ms: int | None, judged_by: str = ""
    ) -> tuple[Taken, DuplicateFilter | None]:
        """Takes a partition over; of a source topic with the filter of its last `deduplicate_ms`.

        Raises OwnerBusy, LogShorter, HistoryDown.
        """
        connection = self._live()
        try:
            taken = fence.take_over(connection, place, log_start, log_end, judged_by)
            if deduplicate_ms is None:
                return taken, None
            return taken, _filter(connection, place, taken, deduplicate_ms)
        except HistoryDown:
            self.close()
            raise
        except psycopg.Error as error:
            self.close()
            raise HistoryDown(describe(error)) from error

    def write(self, parts: Sequence[Part]) -> Outcome:
        """One transaction. Raises HistoryDown."""
        try:
            return writer.write(self._live(), parts, self._days)
        except HistoryDown:
            self.close()
            raise

    def _live(self) -> psycopg.Connection:
        if self._connection is None:
            raise HistoryDown("PostgreSQL: not connected")
        return self._connection


def _filter(connection: psycopg.Connection, place: Place, taken: Taken, deduplicate_ms: int) -> DuplicateFilter:
    """The duplicate filter as of the offset taken over: what event_log accepted in its last `deduplicate_ms`.

    Of what was erased it is not known any more whether it was a duplicate: it counts as accepted, so that an event that
    was there twice may be called a duplicate for up to `deduplicate_ms` longer. No value depends on that.
    """
    if not deduplicate_ms:
        return DuplicateFilter(0)
    rows = connection.execute(
        _ACCEPTED, (place.topic_id, place.partition, taken.duplicates_from, taken.next_offset), binary=True
    ).fetchall()
    log_ms = np.fromiter((row[2] for row in rows), np.int64, len(rows))
    hashes = event_hashes([row[0] or "" for row in rows], [row[1] for row in rows])
    erased = np.array([row[3] or 0 for row in rows], np.int64).view(np.uint64)
    hashes = np.where(erased, erased, hashes)
    return DuplicateFilter.of_accepted(deduplicate_ms, taken.log_ms, log_ms, hashes)


_ACCEPTED = """
SELECT entity, event_id, log_ms, id_hash FROM (
    SELECT "offset", status, replay_for, entity, event_id, id_hash,
        (extract(epoch FROM max(broker_time) OVER (ORDER BY "offset")) * 1000)::bigint AS log_ms
    FROM event_log WHERE topic_id = %s AND partition = %s AND "offset" >= %s AND "offset" < %s
) AS recent
WHERE replay_for IS NULL AND (status = 0 AND event_id IS NOT NULL OR id_hash IS NOT NULL) ORDER BY "offset"
"""
