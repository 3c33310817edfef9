"""Which entities were erased, as everybody who writes about entities must know it (decision 8).

A control record in a source topic says that an entity is to be forgotten. From the commit of the transaction that
records it on, nobody writes what is older: every writer looks here inside its own transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

import psycopg

from freshet.stores.postgres import HistoryDown, connect, describe

_WRITERS = 0x6572617365  # "erase": writers share it, a new erasure has it alone


class Erasure(NamedTuple):
    """A control record in the log."""

    topic: str
    topic_id: UUID
    partition: int
    offset: int
    erased_ms: int
    """Its broker time."""


def keep_off(connection: psycopg.Connection | psycopg.Cursor[Any]) -> None:
    """Until the transaction ends no erasure is added: whoever writes about entities looks behind this."""
    connection.execute("SELECT pg_advisory_xact_lock_shared(%s)", (_WRITERS,))


def wait_for_writers(connection: psycopg.Connection) -> None:
    """Until the transaction ends nobody else writes about entities; those who have begun end first."""
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (_WRITERS,))


@dataclass(frozen=True, slots=True)
class Forgotten:
    """The erasures of some entities, as a writer must know them before it writes about these."""

    by_entity: Mapping[str, tuple[Erasure, ...]]

    def of_record(self, entity: str | None, topic: str, broker_ms: int) -> bool:
        """Whether a record of a source topic, refused or not, is older than an erasure of its entity."""
        return any(e.topic == topic and broker_ms <= e.erased_ms for e in self._of(entity))

    def of_state(self, entity: str, topic: str | None, partition: int, offset: int) -> bool:
        """Whether a state or vector that holds the entity's events below `offset` holds erased ones.

        `topic` is the source topic, `partition` its partition; None: it is not known, and may be any.
        """
        here = [e for e in self._of(entity) if topic in (None, e.topic) and e.partition == partition]
        return any(offset <= e.offset for e in here)

    def _of(self, entity: str | None) -> tuple[Erasure, ...]:
        return self.by_entity.get(entity, ()) if entity is not None else ()


def forgotten(connection: psycopg.Connection, entities: Collection[str]) -> Forgotten:
    """The erasures of these entities; none is added until the caller's transaction ends.

    Of a topic that was deleted and made anew only those of the present one count: its offsets begin again.
    """
    keep_off(connection)
    found: dict[str, list[Erasure]] = {}
    row = connection.execute("SELECT EXISTS (SELECT FROM erasures)").fetchone()
    if row is None or not row[0]:
        return Forgotten({})
    storable = [entity for entity in entities if "\0" not in entity]
    for entity, *erasure in connection.execute(_FORGOTTEN, (storable,)):
        found.setdefault(entity, []).append(Erasure(*erasure))
    return Forgotten({entity: tuple(erasures) for entity, erasures in found.items()})


_FORGOTTEN = """
SELECT e.entity, e.topic, e.topic_id, e.partition, e."offset", (extract(epoch FROM e.erased_at) * 1000)::bigint
FROM erasures e
WHERE e.entity = ANY(%s) AND NOT EXISTS (
    SELECT FROM recorded old JOIN recorded new ON new.topic = old.topic AND new.topic_id <> old.topic_id
    WHERE old.topic_id = e.topic_id AND old.partition = e.partition AND new.updated_at > old.updated_at)
"""


def ahead(url: str, topic_id: UUID, partition: int, offset: int) -> dict[str, int]:
    """By entity the offset of its last erasure at or behind an offset of a partition. Raises HistoryDown."""
    try:
        with connect(url, autocommit=True) as connection:
            rows = connection.execute(
                'SELECT entity, max("offset") FROM erasures WHERE topic_id = %s AND partition = %s AND "offset" >= %s '
                "GROUP BY entity",
                (topic_id, partition, offset),
            ).fetchall()
    except psycopg.Error as error:
        raise HistoryDown(describe(error)) from error
    return dict(rows)
