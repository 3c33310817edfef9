"""Whether history is what SQL says of the log: each record, vector and dead letter once, each checkpoint exact."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np

from freshet.dev.oracle.compare import differences
from freshet.dev.oracle.log import Log
from freshet.dev.oracle.run import Oracle, Reads
from freshet.engine.column import Ints
from freshet.engine.reader import Reader
from freshet.spec.definition import Definition
from freshet.stores.event_log import Status
from tests.chaos.evidence import Evidence
from tests.chaos.topics import Message
from tests.chaos.verdict import Verdict
from tests.chaos.world import World

_EVENTS = """
SELECT partition, "offset", (extract(epoch FROM broker_time) * 1000)::bigint, status, entity, event_id, payload::text
FROM event_log WHERE topic = %s
"""
_VECTORS = """
SELECT s.partition, s."offset", s.entity, s.source_partition, s.source_offset,
       (extract(epoch FROM s.as_of) * 1000)::bigint, s.features
FROM feature_snapshots s JOIN recorded r USING (topic_id, partition) WHERE r.topic = %s
"""
_STATES = """
SELECT s.entity, s."offset", s.state, c."offset" FROM checkpoints c
LEFT JOIN entity_states s USING (owner, partition) WHERE c.owner = %s AND c.partition = %s
"""


_LETTERS = """
SELECT source_partition, source_offset, owner, reason, payload FROM dead_letters WHERE source_topic = %s
"""


def judge_recorded(world: World, evidence: Evidence, verdict: Verdict, oracle: Oracle) -> None:
    """Compares every table."""
    judge_events(world, evidence, verdict)
    judge_snapshots(world, evidence, verdict)
    judge_recorded_letters(world, evidence, verdict)
    judge_checkpoints(world, evidence, verdict, oracle)


def judge_events(world: World, evidence: Evidence, verdict: Verdict) -> None:
    """`event_log` has each record of the log once, with what it is; the view `events` has those that count."""
    expected: dict[tuple[int, int], tuple[Any, ...]] = {}
    for p, log in evidence.logs.items():
        expected |= rows_of(p, log, evidence.raw, evidence.subject.definition)
    found: dict[tuple[int, int], tuple[Any, ...]] = {}
    for p, offset, *row in world.rows(_EVENTS, evidence.subject.topic):
        if (p, offset) in found:
            verdict.doubled.append(f"event_log: {p}:{offset} stands there twice")
        found[p, offset] = tuple(row)
    for at in expected.keys() | found.keys():
        wanted, got = expected.get(at), found.get(at)
        if got is None:
            verdict.lost.append(f"event_log: {at} is missing: {wanted}")
        elif got != wanted:
            verdict.wrong.append(f"event_log: {at} is {got} and should be {wanted}")
    counted = sum(row[1] == Status.ACCEPTED for row in expected.values())
    ((viewed,),) = world.rows("SELECT count(*) FROM events WHERE topic = %s", evidence.subject.topic)
    if viewed != counted:
        verdict.wrong.append(f"the view events has {viewed} rows, {counted} events count")
    verdict.looked["rows of event_log"] += len(found)


def rows_of(p: int, log: Log, raw: list[Message], definition: Definition) -> dict[tuple[int, int], tuple[Any, ...]]:
    """What `event_log` is to have of a partition, by place: broker time, status, entity, event id, payload."""
    values = {m.offset: m.value for m in raw if m.partition == p}
    valid, accepted = log.valid(definition), log.accepted(definition)
    forgotten = {key: int(log.offset[i]) for i, key in log.erasures()}
    out: dict[tuple[int, int], tuple[Any, ...]] = {}
    for i in range(len(log)):
        offset, broker_ms = int(log.offset[i]), int(log.broker_ms[i])
        nothing = (broker_ms, Status.INVALID, None, None, None)
        if not valid[i] and not log.erase[i]:
            row: tuple[Any, ...] = nothing
        elif forgotten.get(log.keys[i], -1) > offset:
            row = (broker_ms, Status.ERASED, None, None, None)  # an earlier erasure names the entity too
        elif log.erase[i]:
            row = (broker_ms, Status.CONTROL, log.keys[i], None, None)
        else:
            status = Status.ACCEPTED if accepted[i] else Status.DUPLICATE
            row = (broker_ms, status, log.keys[i], log.event_ids[i], (values[offset] or b"").decode())
        out[p, offset] = row
    return out


def judge_snapshots(world: World, evidence: Evidence, verdict: Verdict) -> None:
    """`feature_snapshots` has each vector of the output topic once, but for those of an entity's forgotten past."""
    forgotten = {(p, key): int(log.offset[i]) for p, log in evidence.logs.items() for i, key in log.erasures()}
    expected = {}
    for message in evidence.outputs:
        v = json.loads(message.value or b"")
        entity = v[evidence.subject.definition.key]
        row = (entity, v["partition"], v["offset"], v["as_of"], v["features"])
        if v["offset"] > forgotten.get((v["partition"], entity), -1):
            expected[message.partition, message.offset] = row
    found: dict[tuple[int, int], tuple[Any, ...]] = {}
    for p, offset, *row in world.rows(_VECTORS, evidence.subject.output):
        if (p, offset) in found:
            verdict.doubled.append(f"feature_snapshots: {p}:{offset} stands there twice")
        found[p, offset] = tuple(row)
    verdict.lost += [f"feature_snapshots: {at} is missing" for at in expected.keys() - found.keys()]
    more = found.keys() - expected.keys()
    verdict.doubled += [f"feature_snapshots: {at} should not be there: {found[at][:4]}" for at in more]
    changed = [at for at in found.keys() & expected.keys() if found[at] != expected[at]]
    verdict.wrong += [f"feature_snapshots: {at} is {found[at]} and should be {expected[at]}" for at in changed]
    verdict.looked["rows of feature_snapshots"] += len(found)


def judge_recorded_letters(world: World, evidence: Evidence, verdict: Verdict) -> None:
    """`dead_letters` has each invalid record once, with its payload, but for those of an entity's forgotten past."""
    subject, definition = evidence.subject, evidence.subject.definition
    found: dict[tuple[int, int], bytes] = {}
    for p, offset, owner, reason, payload in world.rows(_LETTERS, subject.topic):
        if (p, offset) in found or owner != subject.owner or not reason:
            verdict.doubled.append(f"dead_letters: {p}:{offset} stands there twice, or is not ours: {owner}, {reason}")
        found[p, offset] = bytes(payload or b"")
    values = {(m.partition, m.offset): m.value or b"" for m in evidence.raw}
    for p, log in evidence.logs.items():
        erased = {key: int(log.broker_ms[i]) for i, key in log.erasures()}
        for i in np.flatnonzero(~log.valid(definition) & ~log.erase).tolist():
            at, since = (p, int(log.offset[i])), erased.get(log.keys[i], -1) - int(log.broker_ms[i])
            got = found.pop(at, None)
            if got is None and since < 0:
                verdict.lost.append(f"dead_letters: {at} is missing")
            elif got is not None and since > 0:
                verdict.wrong.append(f"dead_letters: {at} is of an entity that was erased later: {got!r}")
            elif got is not None and got != values[at]:
                verdict.wrong.append(f"dead_letters: {at} has another payload: {got!r}")
            verdict.looked["rows of dead_letters"] += got is not None
    verdict.doubled += [f"dead_letters: {at} is a good record" for at in found]


def judge_checkpoints(world: World, evidence: Evidence, verdict: Verdict, oracle: Oracle) -> None:
    """Every recorded state is SQL's at its own offset, and a checkpoint has all entities that it must have."""
    reader = Reader(oracle.definition)
    now = time.time_ns() // 1_000_000
    for p, log in evidence.logs.items():
        rows = world.rows(_STATES, evidence.subject.owner, p)
        if not rows:
            continue
        taken = rows[0][3]
        states = {entity: (offset, bytes(state)) for entity, offset, state, _ in rows if entity is not None}
        keys = list(states)
        upto: Ints = np.array([states[key][0] for key in keys], np.int64)
        if keys:
            got = reader.read(keys, [states[key][1] for key in keys], now)
            reads = Reads(keys, upto, np.full(len(keys), now, np.int64))
            found = differences(oracle, reads, oracle.values(log, reads), got.columns, got.q_ms)
            verdict.differ("checkpoint", p, reads, found)
            verdict.looked["values of checkpoints"] += len(keys) * len(got.columns)
        verdict.lost += [f"checkpoint of {p} at {taken}: {why}" for why in missing_states(log, taken, states, oracle)]
        verdict.looked["checkpoints"] += 1


def missing_states(log: Log, taken: int, states: dict[str, tuple[int, bytes]], oracle: Oracle) -> list[str]:
    """Entities with events below the checkpoint's offset that are not in it, or older than it."""
    last = {}
    for i in np.flatnonzero(log.accepted(oracle.definition)).tolist():
        if log.offset[i] < taken:
            last[log.keys[i]] = int(log.offset[i])
    for i, key in log.erasures():
        if last.get(key, -1) < log.offset[i]:
            last.pop(key, None)  # forgotten at the checkpoint, or since
    return [
        f"{key} has an event at {offset}, its state is {states[key][0] if key in states else 'missing'}"
        for key, offset in last.items()
        if key not in states or states[key][0] <= offset
    ]
