"""Who may write a partition's history (design §8, as §6.5 for states): one row of `recorded`, one token an attempt.

A take-over is an UPDATE of the row, so it waits for the transaction of the old owner; every transaction of an owner
first locks its rows and finds its tokens in them, or else gives up. What is recorded is then what the log holds, once.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

import psycopg

from freshet.recorder.rows import Place
from freshet.stores.postgres import HistoryDown, describe

log = logging.getLogger(__name__)

APPLICATION = "freshet recorder"
"""Name of an owner's database session: a take-over ends no other kind."""

_WAIT_MS = 2_000
"""How long a take-over waits for the old owner's transaction before it ends that owner's session."""


class Fenced(Exception):
    """Somebody else has taken the partition over, or its row is gone."""


class OwnerBusy(Exception):
    """The old owner's transaction has not ended yet; its session was told to end."""


class LogShorter(Exception):
    """More is recorded than Kafka holds: the log was cut, and its offsets are given to new records."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A partition that was taken over."""

    token: UUID
    next_offset: int
    """Where to consume."""
    log_ms: int
    duplicates_from: int
    """Where to look for events that later ones may be duplicates of."""
    missed: int
    """Offsets that Kafka has dropped before they were recorded."""


def take_over(connection: psycopg.Connection, place: Place, log_start: int, log_end: int, judged_by: str = "") -> Taken:
    """Takes a partition over in a transaction of its own. `judged_by` are the revisions that judge its records.

    Raises OwnerBusy, LogShorter, HistoryDown. What the log does not hold any more is jumped over: `missed` says so,
    and `first_offset` in the table.
    """
    token = uuid4()
    try:
        with connection.transaction():
            connection.execute("SELECT set_config('lock_timeout', %s, true)", (str(_WAIT_MS),))
            found = connection.execute(
                _TAKE, (*_key(place), place.topic, token, *[log_start] * 3, judged_by, log_start)
            ).fetchone()
            assert found is not None
            next_offset, log_ms, duplicates_from = found
            if next_offset > log_end:
                raise LogShorter(
                    f"{place.topic}/{place.partition}: recorded up to offset {next_offset}, but the log ends at "
                    f"{log_end}; it was cut, and new records have the offsets of lost ones"
                )
            missed = max(0, log_start - next_offset)
            if missed:
                connection.execute(_JUMP, (log_start, log_start, *_key(place)))
            return Taken(token, next_offset + missed, log_ms, duplicates_from, missed)
    except psycopg.errors.LockNotAvailable:
        end_owner(connection, place)
        raise OwnerBusy(f"{place.topic}/{place.partition}: the old owner's transaction has not ended yet") from None
    except psycopg.Error as error:
        raise HistoryDown(describe(error)) from error


_TAKE = """
INSERT INTO recorded AS r (
    topic_id, partition, topic, token, backend, first_offset, next_offset, duplicates_from, judged_by, judged_from
)
VALUES (%s, %s, %s, %s, pg_backend_pid(), %s, %s, %s, %s, %s)
ON CONFLICT (topic_id, partition) DO UPDATE
    SET token = excluded.token, backend = excluded.backend, topic = excluded.topic, updated_at = now(),
        judged_by = excluded.judged_by,
        judged_from = CASE WHEN r.judged_by = excluded.judged_by THEN r.judged_from ELSE r.next_offset END
RETURNING next_offset, log_ms, duplicates_from
"""
_JUMP = "UPDATE recorded SET first_offset = %s, next_offset = %s WHERE topic_id = %s AND partition = %s"


def end_owner(connection: psycopg.Connection, place: Place) -> None:
    """Ends the old owner's database session: stopped in the middle of a transaction, it would keep its locks.

    A role may always end its own sessions. The owner, if it lives, takes over again what is still its own.
    """
    try:
        with connection.transaction():
            ended = connection.execute(
                "SELECT pg_terminate_backend(a.pid) FROM recorded r JOIN pg_stat_activity a ON a.pid = r.backend "
                "WHERE r.topic_id = %s AND r.partition = %s AND a.application_name = %s AND a.pid <> pg_backend_pid()",
                (*_key(place), APPLICATION),
            ).fetchall()
    except psycopg.Error as error:
        raise HistoryDown(describe(error)) from error
    log.warning(
        "an owner's transaction was in the way of a take-over",
        extra={"topic": place.topic, "partition": place.partition, "sessions_ended": len(ended)},
    )


@dataclass(frozen=True, slots=True)
class Step:
    """A partition's progress in one transaction."""

    place: Place
    token: UUID
    begin: int
    """`next_offset` before."""
    end: int
    """`next_offset` after."""
    log_ms: int
    duplicates_from: int


def lock(connection: psycopg.Connection, steps: Sequence[Step]) -> list[bool]:
    """Inside a transaction: locks the partitions' rows until its end, and says which are still their owner's."""
    found = connection.execute(
        "SELECT topic_id, partition, token, next_offset FROM recorded JOIN unnest(%s::uuid[], %s::int[]) "
        "AS mine (topic_id, partition) USING (topic_id, partition) ORDER BY topic_id, partition FOR UPDATE OF recorded",
        ([s.place.topic_id for s in steps], [s.place.partition for s in steps]),
    ).fetchall()
    state = {(topic_id, partition): (token, offset) for topic_id, partition, token, offset in found}
    return [state.get(_key(s.place)) == (s.token, s.begin) for s in steps]


def advance(connection: psycopg.Connection, steps: Sequence[Step]) -> None:
    """Inside the same transaction: moves the offsets of locked rows."""
    connection.execute(
        _ADVANCE,
        (
            [s.place.topic_id for s in steps],
            [s.place.partition for s in steps],
            [s.end for s in steps],
            [s.log_ms for s in steps],
            [s.duplicates_from for s in steps],
        ),
    )


_ADVANCE = """
UPDATE recorded AS r
SET next_offset = m.next_offset, log_ms = m.log_ms, duplicates_from = m.duplicates_from, updated_at = now()
FROM unnest(%s::uuid[], %s::int[], %s::bigint[], %s::bigint[], %s::bigint[])
    AS m (topic_id, partition, next_offset, log_ms, duplicates_from)
WHERE r.topic_id = m.topic_id AND r.partition = m.partition
"""


def _key(place: Place) -> tuple[UUID, int]:
    return place.topic_id, place.partition
