"""Whether what is served is what SQL says of the events in the topic: each feature of many entities, at the very read
times that the answers name."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import duckdb
import numpy as np

from freshet.dev.errors import CommandFailed
from freshet.dev.http import NOT_ANSWERED
from freshet.dev.oracle.compare import Difference, differences
from freshet.dev.oracle.log import Log, column_of
from freshet.dev.oracle.run import Oracle, Reads
from freshet.dev.reads import Answered, FeatureReader
from freshet.dev.topic_log import log_of_records, read_topic
from freshet.engine.column import Column
from freshet.runtime.settings import KafkaSettings
from freshet.spec.definition import Definition, FeatureSet, Field
from freshet.spec.expr.tree import Type

_BUSIEST = 50


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome."""

    records: int
    """In the topic."""
    entities: int
    """That were read."""
    values: int
    """That were compared."""
    wrong: tuple[Difference, ...]
    """Values that are not SQL's."""


def verify(
    featureset: FeatureSet, settings: KafkaSettings, serving_url: str, most: int = 200, patience_seconds: float = 20
) -> Verdict:
    """Compares the features of up to `most` entities while no events are sent.

    The newest events may still be on their way into the store: the reads are repeated for that long before a
    difference counts. Raises CommandFailed when the topic or the features cannot be read.
    """
    definition = featureset.definition
    with duckdb.connect(config={"threads": 1}) as database:
        database.execute("SET TimeZone = 'UTC'")
        raw = read_topic(settings, featureset.source.topic)
        mine = {p: [record.as_read_by(featureset) for record in records] for p, records in raw.items() if records}
        logs = {p: log_of_records(records, definition, database) for p, records in mine.items()}
    keys = {p: chosen for p, log in logs.items() if (chosen := _choose(log, -(-most // len(logs))))}
    reader = FeatureReader(serving_url, featureset.name)
    deadline = time.monotonic() + patience_seconds
    try:
        with Oracle(definition) as oracle:
            while True:
                answers = {p: _read(reader, chosen) for p, chosen in keys.items()}
                wrong = [d for p, found in answers.items() for d in _compare(oracle, logs[p], keys[p], found)]
                if not wrong or time.monotonic() > deadline:
                    break
                time.sleep(0.5)
    finally:
        reader.close()
    entities = sum(map(len, keys.values()))
    return Verdict(sum(map(len, raw.values())), entities, entities * len(definition.features), tuple(wrong))


def _choose(log: Log, most: int) -> list[str]:
    """The busiest entities and an even choice of the others."""
    counted = [key for key, _ in Counter(key for key in log.keys if key).most_common()]
    busiest, others = counted[: min(_BUSIEST, most // 2 + 1)], counted[min(_BUSIEST, most // 2 + 1) :]
    step = max(1, len(others) // max(1, most - len(busiest)))
    return (busiest + others[::step])[:most]


def _read(reader: FeatureReader, keys: Sequence[str]) -> list[Answered]:
    try:
        return reader.read_all(keys)
    except NOT_ANSWERED as error:
        raise CommandFailed(f"{reader.url} does not answer: {error}") from error


def _compare(oracle: Oracle, log: Log, keys: list[str], answers: Sequence[Answered]) -> list[Difference]:
    q = np.array([answer.q_ms for answer in answers], np.int64)
    reads = Reads(keys, np.full(len(keys), log.end, np.int64), q)
    served = served_columns(oracle.definition, [answer.values for answer in answers])
    return differences(oracle, reads, oracle.values(log, reads), served, q)


def served_columns(definition: Definition, rows: Sequence[Mapping[str, Any]]) -> dict[str, Column]:
    """Answers as columns, like the engine's own."""
    found: dict[str, Column] = {}
    for feature in definition.features:
        values = [row[feature.name] for row in rows]
        if feature.type is Type.TIMESTAMP:
            values = [None if v is None else datetime.fromisoformat(v).timestamp() * 1000 for v in values]
            found[feature.name] = column_of(values, Field(feature.name, Type.DOUBLE, ()))
        else:
            found[feature.name] = column_of(values, Field(feature.name, feature.type, ()))
    return found
