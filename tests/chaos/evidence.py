"""What a round left behind, gathered once: the log, what was sent, and everything that was made of it."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import duckdb
import numpy as np

from freshet.dev.oracle.log import Log
from freshet.dev.topic_log import Raw, log_of_records
from freshet.engine.control import Erase, mark_of
from freshet.spec.definition import FeatureSet
from freshet.spec.partitioning import partition_of
from tests.chaos.driver import Account
from tests.chaos.subject import Subject
from tests.chaos.topics import Message, read
from tests.chaos.world import World


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that verdicts are reached from."""

    subject: Subject
    account: Account
    raw: list[Message]
    logs: dict[int, Log]
    """What SQL takes for the log, by partition; misrouted records count as malformed."""
    outputs: list[Message]
    """The vectors as they stand in their topic."""
    vectors: list[dict[str, Any]]
    letters: list[Message]
    """Those of its log."""


def gather(world: World, subject: Subject, account: Account) -> Evidence:
    """Reads everything back."""
    raw = read(world.settings, subject.topic)
    outputs = read(world.settings, subject.output)
    vectors = [json.loads(message.value or b"") for message in outputs]
    letters = [one for one in read(world.settings, world.dead_letters) if one.header("freshet-topic") == subject.topic]
    return Evidence(subject, account, raw, logs_of(raw, subject.featureset), outputs, vectors, letters)


def logs_of(raw: list[Message], featureset: FeatureSet) -> dict[int, Log]:
    """The log as the oracle wants it."""
    definition = featureset.definition
    parts: dict[int, list[Raw]] = {p: [] for p in range(featureset.source.partitions)}
    for message in raw:
        mark = mark_of(message.key, message.value, message.headers)
        erases = mark.entity if isinstance(mark, Erase) else None
        parts[message.partition].append(Raw(message.offset, message.broker_ms, message.value or b"", erases))
    with duckdb.connect(config={"threads": 1}) as database:
        database.execute("SET TimeZone = 'UTC'")
        logs = {p: log_of_records(records, definition, database) for p, records in parts.items()}
    return {p: _routed(log, p, len(logs)) for p, log in logs.items()}


def _routed(log: Log, partition: int, partitions: int) -> Log:
    foreign = np.array([key != "" and partition_of(key, partitions, "murmur2") != partition for key in log.keys], bool)
    return replace(log, malformed=log.malformed | foreign) if len(log) else log


def tries(raw: list[Message]) -> tuple[Counter[tuple[int, str]], list[bytes]]:
    """How often each event of each try is in the log, and the values of records that no try brought."""
    found: Counter[tuple[int, str]] = Counter()
    foreign = []
    for message in raw:
        try:
            event = json.loads(message.value or b"")
            found[event["try"], event["event_id"]] += 1
        except (ValueError, TypeError, KeyError):
            foreign.append(message.value or b"")
    return found, foreign
