"""Erasures: what the control record of an entity does to history (decision 8).

`note` belongs to the transaction that records the control record: from its commit on nobody writes older rows of the
entity, because every writer asks `erasures.forgotten` inside its own transaction. `sweep` then removes the rows that
are there, in steps of bounded size.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString
from uuid import UUID

import numpy as np
import psycopg

from freshet.engine.control import Erase
from freshet.engine.duplicates import event_hashes
from freshet.stores.erasures import wait_for_writers

log = logging.getLogger(__name__)

_SWEEPER = 0x7377656570  # "sweep": one at a time
_STEP = 5_000
"""Rows of one transaction: well under a second."""


def note(
    connection: psycopg.Connection,
    topic: str,
    topic_id: UUID,
    partition: int,
    offset: int,
    broker_ms: int,
    erase: Erase,
) -> None:
    """Makes an erasure known, inside the transaction that records its control record. May be repeated.

    It waits for writers that have looked already, so that whatever they write is there when the rows are removed.
    """
    wait_for_writers(connection)
    connection.execute(
        'INSERT INTO erasures (topic_id, partition, "offset", topic, entity, request_id, erased_at) '
        "VALUES (%s, %s, %s, %s, %s, %s, to_timestamp(%s / 1000.0)) ON CONFLICT DO NOTHING",
        (topic_id, partition, offset, topic, erase.entity, erase.request_id, max(broker_ms, 0)),
    )
    connection.execute(
        'UPDATE erasure_requests SET topic_id = %s, partition = %s, "offset" = %s '
        "WHERE request_id = %s AND topic = %s AND entity = %s",
        (topic_id, partition, offset, erase.request_id, topic, erase.entity),
    )


def sweep(connection: psycopg.Connection, readers: Mapping[str, Collection[str]]) -> int:
    """Removes the rows of erasures that wait for it; returns how many erasures are done now.

    `readers` has by source topic the names of the FeatureSets that read it; vectors of a FeatureSet that reads no known
    topic are taken for any topic's. `connection` is in autocommit mode and the
    sweeper's own. Another sweeper at work: 0. An end in the middle is gone on from by the next call.
    """
    row = connection.execute("SELECT pg_try_advisory_lock(%s)", (_SWEEPER,)).fetchone()
    if row is None or not row[0]:
        return 0
    try:
        waiting = connection.execute(_WAITING).fetchall()
        for topic_id, partition, offset, topic, entity, erased_at in waiting:
            _Removal(connection, topic, topic_id, partition, offset, entity, erased_at).run(
                _readers_of_others(readers, topic)
            )
            log.info("erased", extra={"topic": topic, "partition": partition, "offset": offset})
        return len(waiting)
    finally:
        if not connection.closed:
            connection.execute("SELECT pg_advisory_unlock(%s)", (_SWEEPER,))


def _readers_of_others(readers: Mapping[str, Collection[str]], topic: str) -> set[str]:
    return {name for other, names in readers.items() if other != topic for name in names} - set(readers.get(topic, ()))


_WAITING = 'SELECT topic_id, partition, "offset", topic, entity, erased_at FROM erasures WHERE applied_at IS NULL'


@dataclass(frozen=True, slots=True)
class _Removal:
    """The rows of one erasure."""

    connection: psycopg.Connection
    topic: str
    topic_id: UUID
    partition: int
    offset: int
    entity: str
    erased_at: datetime

    def run(self, others: Collection[str]) -> None:
        """Removes all of them, table by table, counting in the erasure's row as it goes.

        `others` are FeatureSets of other topics, whose vectors it leaves.
        """
        about = {
            "topic": self.topic,
            "topic_id": self.topic_id,
            "partition": self.partition,
            "offset": self.offset,
            "entity": self.entity,
            "erased_at": self.erased_at,
            "others": list(others),
            "quoted": b'"' + self.entity.encode() + b'"',
            "step": _STEP,
        }
        while self._step("event_log", lambda: self._bare(about)) >= _STEP:
            pass
        for table, statement in _STATEMENTS:
            while self._step(table, lambda one=statement: self.connection.execute(one, about).rowcount) >= _STEP:  # type: ignore[misc]
                pass
        self.connection.execute(
            'UPDATE erasures SET applied_at = now() WHERE topic_id = %s AND partition = %s AND "offset" = %s',
            (self.topic_id, self.partition, self.offset),
        )

    def _step(self, table: str, remove: Callable[[], int]) -> int:
        with self.connection.transaction():
            count = remove()
            self.connection.execute(
                "UPDATE erasures SET removed = removed || jsonb_build_object(%s::text, "
                "coalesce((removed ->> %s)::bigint, 0) + %s) "
                'WHERE topic_id = %s AND partition = %s AND "offset" = %s',
                (table, table, count, self.topic_id, self.partition, self.offset),
            )
        return count

    def _bare(self, about: Mapping[str, object]) -> int:
        """Leaves of events their places, and hashes of their ids: what is sent again stays a duplicate."""
        rows = self.connection.execute(_EVENTS, about).fetchall()
        ids = [row[3] for row in rows]
        hashes = event_hashes([self.entity] * len(ids), ids).view(np.int64).tolist()
        topics, partitions, offsets = ([row[i] for row in rows] for i in range(3))
        known = [found if event is not None else None for found, event in zip(hashes, ids, strict=True)]
        return self.connection.execute(_BARE, (topics, partitions, offsets, known)).rowcount


_EVENTS = """
SELECT topic_id, partition, "offset", event_id FROM event_log
WHERE entity = %(entity)s AND ((topic_id = %(topic_id)s AND partition = %(partition)s AND "offset" < %(offset)s)
    OR (topic = %(topic)s AND topic_id <> %(topic_id)s AND broker_time <= %(erased_at)s))
LIMIT %(step)s
"""
_BARE = """
UPDATE event_log AS e
SET status = 3, entity = NULL, event_id = NULL, event_time = NULL, payload = NULL, id_hash = gone.id_hash
FROM unnest(%s::uuid[], %s::int[], %s::bigint[], %s::bigint[]) AS gone (topic_id, partition, "offset", id_hash)
WHERE e.topic_id = gone.topic_id AND e.partition = gone.partition AND e."offset" = gone."offset"
"""
_STATEMENTS: tuple[tuple[str, LiteralString], ...] = (
    (
        "feature_snapshots",
        """
        DELETE FROM feature_snapshots WHERE (topic_id, partition, "offset", broker_time) IN (
            SELECT topic_id, partition, "offset", broker_time FROM feature_snapshots
            WHERE entity = %(entity)s AND featureset <> ALL(%(others)s::text[])
                AND (broker_time <= %(erased_at)s OR source_offset <= %(offset)s)
            LIMIT %(step)s)
        """,
    ),
    (
        "entity_states",
        """
        DELETE FROM entity_states USING checkpoints WHERE entity_states.owner = checkpoints.owner
            AND entity_states.partition = checkpoints.partition AND checkpoints.topic_id = %(topic_id)s
            AND entity_states.partition = %(partition)s AND entity = %(entity)s AND entity_states."offset" <= %(offset)s
        """,
    ),
    (
        "dead_letters",
        """
        DELETE FROM dead_letters WHERE (source_topic_id, source_partition, source_offset, owner) IN (
            SELECT source_topic_id, source_partition, source_offset, owner FROM dead_letters
            WHERE source_topic = %(topic)s AND source_time <= %(erased_at)s
                AND (entity = %(entity)s OR key = convert_to(%(entity)s, 'UTF8')
                    OR (entity IS NULL AND position(%(quoted)s::bytea IN payload) > 0))
            LIMIT %(step)s)
        """,
    ),
)
