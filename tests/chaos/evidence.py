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
from freshet.spec.definition import Definition
from freshet.spec.partitioning import partition_of
from tests.chaos.driver import Account
from tests.chaos.manifests import PARTITIONS
from tests.chaos.topics import Message, read
from tests.chaos.world import World


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that verdicts are reached from."""

    account: Account
    raw: list[Message]
    logs: dict[int, Log]
    """What SQL takes for the log, by partition; misrouted records count as malformed."""
    outputs: list[Message]
    """The vectors as they stand in their topic."""
    vectors: list[dict[str, Any]]
    letters: list[Message]


def gather(world: World, account: Account) -> Evidence:
    """Reads everything back."""
    fs = world.featureset
    assert fs.output_topic is not None
    raw = read(world.settings, fs.source.topic)
    outputs = read(world.settings, fs.output_topic)
    vectors = [json.loads(message.value or b"") for message in outputs]
    logs = logs_of(raw, fs.definition)
    return Evidence(account, raw, logs, outputs, vectors, read(world.settings, world.dead_letters))


def logs_of(raw: list[Message], definition: Definition) -> dict[int, Log]:
    """The source topic as the oracle wants it."""
    parts: dict[int, list[Raw]] = {p: [] for p in range(PARTITIONS)}
    for message in raw:
        mark = mark_of(message.key, message.value, message.headers)
        erases = mark.entity if isinstance(mark, Erase) else None
        parts[message.partition].append(Raw(message.offset, message.broker_ms, message.value or b"", erases))
    with duckdb.connect(config={"threads": 1}) as database:
        database.execute("SET TimeZone = 'UTC'")
        logs = {p: log_of_records(records, definition, database) for p, records in parts.items()}
    return {p: _routed(log, p) for p, log in logs.items()}


def _routed(log: Log, partition: int) -> Log:
    foreign = np.array([key != "" and partition_of(key, PARTITIONS, "murmur2") != partition for key in log.keys], bool)
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
