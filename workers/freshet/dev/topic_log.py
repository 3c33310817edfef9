"""The raw topic as the oracle wants it: every record with its offset and broker time, read back from Kafka.

The events are taken apart by DuckDB's JSON functions and not by the engine's decoder, so that the comparison covers
the decoder too.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import duckdb
import numpy as np
from confluent_kafka import Message, TopicPartition

from freshet.dev.errors import CommandFailed
from freshet.dev.oracle.log import Log, column_of
from freshet.engine.control import Erase, Replay, mark_of
from freshet.runtime.settings import KafkaSettings
from freshet.spec.definition import Definition, FeatureSet, Field
from freshet.spec.expr.tree import Type
from freshet.stores import kafka

_SILENCE_SECONDS = 10.0
_POLL_SECONDS = 0.2
_TEXT_OR_WHOLE = ("VARCHAR", "BIGINT", "UBIGINT")
"""Of keys and event ids. DuckDB takes a whole number beyond 64 bits for a fraction."""
_NUMBER = ("BIGINT", "UBIGINT", "HUGEINT", "UHUGEINT", "DOUBLE")
_JSON_TYPES = {
    Type.TEXT: ("VARCHAR",),
    Type.BOOLEAN: ("BOOLEAN",),
    Type.DOUBLE: _NUMBER,
    Type.INTEGER: _NUMBER,
}
_SQL_TYPES = {Type.TEXT: "VARCHAR", Type.BOOLEAN: "BOOLEAN", Type.DOUBLE: "DOUBLE", Type.INTEGER: "DOUBLE"}


class Raw(NamedTuple):
    """One record."""

    offset: int
    broker_ms: int
    value: bytes
    erases: str | None = None
    """The entity that it says to forget."""
    only_for: str | None = None
    """The one revision (namespace/featureset/revision) that counts it: a replayed dead letter."""

    def as_read_by(self, featureset: FeatureSet) -> Raw:
        """The record as this revision sees it: one that is not for it takes its place and is nothing else."""
        mine = f"/{featureset.name}/{featureset.definition.revision}"
        return self if self.only_for is None or self.only_for.endswith(mine) else self._replace(value=b"")


def read_topic(settings: KafkaSettings, topic: str) -> dict[int, list[Raw]]:
    """All records by partition, up to the present end. Raises CommandFailed if Kafka falls silent."""
    client = kafka.consumer(settings, "freshet.dev.verify")
    try:
        partitions = list(client.list_topics(topic, timeout=_SILENCE_SECONDS).topics[topic].partitions)
        starts = {p: kafka.log_bounds(client, topic, p)[0] for p in partitions}
        client.assign([TopicPartition(topic, p, start) for p, start in starts.items()])
        found: dict[int, list[Raw]] = {p: [] for p in partitions}
        ended: set[int] = set()
        heard = time.monotonic()
        while len(ended) < len(partitions):
            messages = client.consume(10_000, _POLL_SECONDS)
            if messages:
                heard = time.monotonic()
            elif time.monotonic() - heard > _SILENCE_SECONDS:
                raise CommandFailed(f"the topic {topic} could not be read to its end: Kafka is silent")
            for message in messages:
                _take(message, found, ended)
        return found
    finally:
        client.close()


def _take(message: Message, found: dict[int, list[Raw]], ended: set[int]) -> None:
    error, partition = message.error(), message.partition()
    assert partition is not None
    if error is None:
        headers: Any = message.headers() or []
        mark = mark_of(message.key(), message.value(), headers)
        erases = mark.entity if isinstance(mark, Erase) else None
        only_for = mark.owner if isinstance(mark, Replay) else None
        raw = Raw(message.offset() or 0, message.timestamp()[1], message.value() or b"", erases, only_for)
        found[partition].append(raw)
    elif error.code() == kafka.PARTITION_END:
        ended.add(partition)
    else:
        raise CommandFailed(f"the topic could not be read: {error.str()}")


def log_of_records(records: list[Raw], definition: Definition, database: duckdb.DuckDBPyConnection) -> Log:
    """The log of one partition."""
    texts = np.empty(len(records), object)
    texts[:] = [record.value.decode(errors="replace") for record in records]
    database.register("raw_values", {"i": np.arange(len(records)), "text": texts})
    columns = list(zip(*database.execute(_query(definition)).fetchall(), strict=True)) or [()] * (
        4 + len(definition.fields)
    )
    malformed, keys, event_ids, times, *fields = columns
    return Log(
        offset=np.array([record.offset for record in records], np.int64),
        broker_ms=np.array([record.broker_ms for record in records], np.int64),
        event_ms=np.array([at or 0 for at in times], np.int64),
        keys=[record.erases or key or "" for record, key in zip(records, keys, strict=True)],
        event_ids=list(event_ids),
        fields={f.name: column_of(list(values), f) for f, values in zip(definition.fields, fields, strict=True)},
        malformed=np.array(malformed, np.bool_),
        erase=np.array([record.erases is not None for record in records], np.bool_),
    )


def _query(definition: Definition) -> str:
    key, event_id, time = (_Place((name,)) for name in (definition.key, definition.event_id, definition.timestamp))
    named = f"CASE WHEN {key.kind} IN {_TEXT_OR_WHOLE} THEN {key.text} END"
    conditions = [f"coalesce({named}, '') = ''", f"{_time(time)} IS NULL"]
    conditions.append(f"coalesce({event_id.kind}, 'NULL') NOT IN {(*_TEXT_OR_WHOLE, 'NULL')}")
    for field in definition.fields:
        conditions += _wrong(field)
    columns = [f"coalesce({' OR '.join(conditions)}, FALSE)", named, event_id.text, _time(time)]
    columns += [f"TRY_CAST({_Place(field.path).text} AS {_SQL_TYPES[field.type]})" for field in definition.fields]
    # Broken JSON becomes an empty object: each of its columns is null and the first one says why.
    source = "SELECT i, CASE WHEN json_valid(text) THEN text ELSE '{}' END AS text FROM raw_values"
    return f"SELECT {', '.join(columns)} FROM ({source}) ORDER BY i"  # noqa: S608 - names of a checked manifest, quoted


class _Place:
    """SQL of a value inside the event."""

    def __init__(self, path: tuple[str, ...]) -> None:
        steps = ".".join('"' + part + '"' for part in path)
        quoted = ("$." + steps).replace("'", "''")
        self.text = f"json_extract_string(text, '{quoted}')"
        self.kind = f"json_type(text, '{quoted}')"


def _time(place: _Place) -> str:
    """Epoch milliseconds, rounded down; null for what is no time with a zone."""
    zoned = f"regexp_matches({place.text}, '([zZ]|[+-][0-9]{{2}}:[0-9]{{2}})$')"
    return (
        f"CASE WHEN {place.kind} IN {_NUMBER} THEN CAST(floor(TRY_CAST({place.text} AS DOUBLE)) AS BIGINT)"
        f" WHEN {zoned} THEN epoch_ms(TRY_CAST({place.text} AS TIMESTAMPTZ)) END"
    )


def _wrong(field: Field) -> Iterator[str]:
    """What makes an event a dead letter."""
    place = _Place(field.path)
    kinds = ", ".join(f"'{kind}'" for kind in (*_JSON_TYPES[field.type], "NULL"))
    yield f"coalesce({place.kind}, 'NULL') NOT IN ({kinds})"
    if field.required:
        yield f"{place.text} IS NULL"
    number = f"TRY_CAST({place.text} AS DOUBLE)"
    if field.minimum is not None:
        yield f"{number} < {field.minimum!r}"
    if field.maximum is not None:
        yield f"{number} > {field.maximum!r}"
