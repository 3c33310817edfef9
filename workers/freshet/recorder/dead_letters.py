"""Messages of the dead-letter topic as rows: one a refused record and revision, however often it was sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

import msgspec
import psycopg

from freshet.engine.decode import key_problem
from freshet.spec import headers as names
from freshet.stores.erasures import forgotten
from freshet.stores.topics import topic_uuid

_CHUNK_BYTES = 8 << 20
"""Payloads of one statement. A letter carries whatever a foreign topic held."""
_CHUNK_ROWS = 1_000
_MOST_TEXT = 2_000
_LAST_MS = 4_102_444_800_000
"""The year 2100. A time beyond it is not one that a broker has given."""


class Letter(NamedTuple):
    """A row of `dead_letters` as it begins; times are ms since 1970."""

    topic_id: UUID
    partition: int
    offset: int
    owner: str
    """namespace/featureset/revision that refused the record."""
    topic: str
    source_ms: int
    reason: str
    sentence: str
    first_seen_ms: int
    key: bytes | None
    payload: bytes | None
    entity: str | None


def letter_of(
    key: bytes | None, value: bytes | None, headers: Mapping[str, bytes], key_fields: Mapping[str, str]
) -> Letter | None:
    """The letter that a message is; None if its headers are not those of one. Never raises.

    `key_fields` has by `namespace/featureset` the event field that names the entity.
    """
    try:
        topic_id = topic_uuid(headers[names.TOPIC_ID].decode())
        owner, topic = _text(headers[names.FEATURESET]), _text(headers[names.TOPIC])
        partition, offset = int(headers[names.PARTITION]), int(headers[names.OFFSET])
        source_ms, seen_ms = int(headers[names.TIMESTAMP]), int(headers[names.FIRST_SEEN])
        reason, sentence = _text(headers[names.REASON]), _text(headers[names.SENTENCE])
    except (KeyError, ValueError):
        return None
    if not (0 <= partition < 1 << 31 and 0 <= offset < 1 << 63):
        return None
    entity = _entity(key, value, key_fields.get(owner.rpartition("/")[0]))
    source_ms, seen_ms = (min(max(ms, 0), _LAST_MS) for ms in (source_ms, seen_ms))
    return Letter(topic_id, partition, offset, owner, topic, source_ms, reason, sentence, seen_ms, key, value, entity)


def _text(data: bytes) -> str:
    return data.decode(errors="replace").replace("\0", "�")[:_MOST_TEXT]


def _entity(key: bytes | None, value: bytes | None, field: str | None) -> str | None:
    """Whom the payload is about if it says so, else whom the key names."""
    named = None
    if value is not None and field is not None:
        try:
            event = msgspec.json.decode(value, type=dict[str, msgspec.Raw])
            named = msgspec.json.decode(event[field], type=str | int) if field in event else None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            named = None
    try:
        text = str(named) if named is not None else (key or b"").decode()
    except UnicodeDecodeError:
        return None
    return text if key_problem(text) is None else None


def insert(connection: psycopg.Connection, letters: Sequence[Letter]) -> int:
    """Adds the letters that are not there yet; returns how many. To be called inside a transaction.

    Letters of an entity that was erased after they were refused are dropped (`stores.erasures`).
    """
    gone = forgotten(connection, {letter.entity for letter in letters if letter.entity is not None})
    kept = [one for one in letters if not gone.of_record(one.entity, one.topic, one.source_ms)]
    added = 0
    for chunk in _chunks(kept):
        added += connection.execute(_INSERT, [list(column) for column in zip(*chunk, strict=True)]).rowcount
    return added


def _chunks(letters: Sequence[Letter]) -> Iterator[list[Letter]]:
    chunk: list[Letter] = []
    size = 0
    for letter in letters:
        more = len(letter.payload or b"") + len(letter.key or b"")
        if chunk and (len(chunk) == _CHUNK_ROWS or size + more > _CHUNK_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(letter)
        size += more
    if chunk:
        yield chunk


_INSERT = """
INSERT INTO dead_letters (source_topic_id, source_partition, source_offset, owner, source_topic, source_time, reason,
    sentence, first_seen, key, payload, entity)
SELECT topic_id, partition, "offset", owner, topic, to_timestamp(source_ms / 1000.0), reason, sentence,
    to_timestamp(seen_ms / 1000.0), key, payload, entity
FROM unnest(%s::uuid[], %s::int[], %s::bigint[], %s::text[], %s::text[], %s::bigint[], %s::text[], %s::text[],
    %s::bigint[], %s::bytea[], %s::bytea[], %s::text[])
    AS new (topic_id, partition, "offset", owner, topic, source_ms, reason, sentence, seen_ms, key, payload, entity)
ON CONFLICT DO NOTHING
"""


class SeenReplay(NamedTuple):
    """A replayed dead letter that stands in the log."""

    owner: str
    """The revision that it is for."""
    source: tuple[UUID, int, int]
    partition: int
    offset: int


def note_replays(connection: psycopg.Connection, replays: Sequence[SeenReplay]) -> int:
    """Notes that these letters are in the log again, in the transaction that records them there; returns how many.

    That settles a replay whose sender died before it could write down that it was done.
    """
    noted = 0
    for owner, source, partition, offset in replays:
        noted += connection.execute(_SEEN, (partition, offset, *source, owner.rpartition("/")[0] + "/")).rowcount
    return noted


_SEEN = """
UPDATE dead_letters SET status = 'replayed', changed_at = now(), replayed_partition = %s, replayed_offset = %s
WHERE source_topic_id = %s AND source_partition = %s AND source_offset = %s AND starts_with(owner, %s)
    AND status <> 'replayed'
"""
