"""Whether everything is what SQL says of the log, and whether the log is what was acknowledged."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from freshet.dev.oracle.compare import Difference, differences
from freshet.dev.oracle.log import Log
from freshet.dev.oracle.run import Oracle, Reads
from freshet.dev.reads import FeatureReader
from freshet.dev.verify import served_columns
from freshet.engine.column import Ints
from freshet.engine.reader import Reader
from freshet.spec import naming
from freshet.spec.partitioning import partition_of
from freshet.stores.redis import execute
from tests.chaos.driver import Outcome
from tests.chaos.evidence import Evidence, tries
from tests.chaos.watcher import Default
from tests.chaos.world import World

_LATER_MS = (0, 45_000, 3_500_000)
"""Stored states are read as of now and of times to come, when windows have moved on."""
_NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class Wrong:
    """A value that is not SQL's."""

    what: str
    """What was read: state, served or vector."""
    partition: int
    upto: int
    """Records below it had been taken in."""
    difference: Difference


@dataclass
class Verdict:
    """Counts of what was looked at and of what is wrong, with sentences."""

    looked: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    values: list[Wrong] = field(default_factory=list)
    """The wrong values among `wrong`."""

    @property
    def good(self) -> bool:
        """Nothing lost, doubled or wrong."""
        return not (self.lost or self.doubled or self.wrong)

    def add(self, other: Verdict, name: str) -> None:
        """Takes over what was found of the FeatureSet of this name."""
        self.looked.update(other.looked)
        for mine, found in ((self.lost, other.lost), (self.doubled, other.doubled), (self.wrong, other.wrong)):
            mine += [f"{name}: {one}" for one in found]

    def differ(self, what: str, partition: int, reads: Reads, found: list[Difference]) -> None:
        """Notes values that are not SQL's."""
        self.wrong += [f"{what}, partition {partition}: {one}" for one in found]
        self.values += [Wrong(what, partition, int(reads.upto[one.read]), one) for one in found]


def judge_log(evidence: Evidence, verdict: Verdict) -> None:
    """Acknowledged: exactly once. Refused: never. In doubt: as it may be; more than once is counted. Nothing else."""
    found, foreign = tries(evidence.raw)
    for number, outcome in evidence.account.outcomes.items():
        for event_id, times in Counter(evidence.account.event_ids[number]).items():
            there = found.pop((number, event_id), 0)
            verdict.looked["events sent"] += times
            verdict.looked[outcome.value] += times
            name = f"{event_id} of try {number} ({outcome.value})"
            if there < times and outcome is Outcome.ACKNOWLEDGED:
                verdict.lost.append(f"{name}: {there} times in the log instead of {times}")
            expected = 0 if outcome is Outcome.REFUSED else times
            if there > expected and outcome is Outcome.DOUBTFUL:
                verdict.looked["in doubt and more than once in the log"] += there - times
            elif there > expected:
                verdict.doubled.append(f"{name}: {there} times in the log instead of {expected}")
    verdict.doubled += [f"{event_id} of try {number}: nobody sent it" for number, event_id in found]
    missing = Counter(evidence.account.poison) - Counter(foreign)
    verdict.lost += [f"poisonous record {value!r}" for value in missing.elements()]
    verdict.looked["records in the log"] += len(evidence.raw)


def judge_letters(evidence: Evidence, verdict: Verdict) -> None:
    """Each invalid record has a letter with its payload; a repeat names the same source; no valid one has any."""
    records = {(m.partition, m.offset): m for m in evidence.raw}
    letters: dict[tuple[int, int], int] = Counter()
    for letter in evidence.letters:
        at = int(letter.header("freshet-partition") or -1), int(letter.header("freshet-offset") or -1)
        letters[at] += 1
        source = records.get(at)
        if source is None or (letter.value or b"") != (source.value or b""):
            verdict.wrong.append(f"dead letter of {at}: not what the log has there: {letter.value!r}")
        if not letter.header("freshet-reason") or not letter.header("freshet-sentence"):
            verdict.wrong.append(f"dead letter of {at}: says no reason")
    definition = evidence.subject.definition
    for p, log in evidence.logs.items():
        for i in np.flatnonzero(~log.valid(definition) & ~log.erase).tolist():
            if not letters.pop((p, int(log.offset[i])), 0):
                verdict.lost.append(f"dead letter of {p}:{log.offset[i]}: there is none")
            verdict.looked["dead letters"] += 1
    verdict.doubled += [f"dead letter of {at}, which is a good record" for at in letters]


def judge_states(evidence: Evidence, verdict: Verdict, oracle: Oracle) -> None:
    """Every stored state, read by the engine now and later."""
    reader = Reader(oracle.definition)
    now = time.time_ns() // 1_000_000
    with evidence.subject.connect() as store:
        for p, log in evidence.logs.items():
            keys = entities(log)
            blobs: Any = execute(store, "MGET", *(naming.entity_key(evidence.subject.tag(p), key) for key in keys))
            for later in _LATER_MS:
                got = reader.read(keys, blobs, now + later)
                reads = Reads(keys, _full(len(keys), log.end), _full(len(keys), now + later))
                found = differences(oracle, reads, oracle.values(log, reads), got.columns, got.q_ms)
                verdict.differ("state", p, reads, found)
                verdict.looked["values of states"] += len(keys) * len(got.columns)


def judge_served(world: World, evidence: Evidence, verdict: Verdict, oracle: Oracle) -> None:
    """Every value as a user reads it over HTTP."""
    subject = evidence.subject
    reader = FeatureReader(world.serving.url, subject.name)
    try:
        for p, log in evidence.logs.items():
            keys = [key for key in entities(log) if partition_of(key, subject.partitions, "murmur2") == p]
            answers = reader.read_all(keys)
            q = np.array([answer.q_ms for answer in answers], np.int64)
            served = served_columns(oracle.definition, [answer.values for answer in answers])
            reads = Reads(keys, _full(len(keys), log.end), q)
            verdict.differ("served", p, reads, differences(oracle, reads, oracle.values(log, reads), served, q))
            verdict.looked["values served"] += len(keys) * len(served)
    finally:
        reader.close()


def judge_vectors(evidence: Evidence, verdict: Verdict, oracle: Oracle) -> None:
    """Every vector at its own offset and time; every entity's newest one holds all of its events."""
    definition = oracle.definition
    newest: dict[str, int] = {}
    parts: dict[int, list[dict[str, Any]]] = {}
    for vector in evidence.vectors:
        key = vector[definition.key]
        parts.setdefault(vector["partition"], []).append(vector)
        newest[key] = max(newest.get(key, 0), vector["offset"])
    for p, vectors in parts.items():
        as_of = np.array([v["as_of"] for v in vectors], np.int64)
        reads = Reads([v[definition.key] for v in vectors], np.array([v["offset"] for v in vectors], np.int64), as_of)
        columns = served_columns(definition, [v["features"] for v in vectors])
        values = oracle.values(evidence.logs[p], reads)
        verdict.differ("vector", p, reads, differences(oracle, reads, values, columns, as_of))
        verdict.looked["values of vectors"] += len(vectors) * len(columns)
    for p, log in evidence.logs.items():
        last = {log.keys[i]: int(log.offset[i]) for i in np.flatnonzero(log.accepted(definition)).tolist()}
        for i, key in log.erasures():
            if last.get(key, -1) < log.offset[i]:
                last.pop(key, None)  # what was not told yet is not told any more
        verdict.looked["erasures"] += len(log.erasures())
        behind = [(key, offset) for key, offset in last.items() if newest.get(key, 0) <= offset]
        verdict.lost += [f"{key}: its event {p}:{offset} is in no vector" for key, offset in behind]


def judge_defaults(defaults: Sequence[Default], evidence: Evidence, verdict: Verdict) -> None:
    """Whoever has events below its partition's progress is never answered as if there were none."""
    first: dict[str, int] = {}
    subject = evidence.subject
    for log in evidence.logs.values():
        for i in np.flatnonzero(log.accepted(subject.definition)).tolist():
            first.setdefault(log.keys[i], int(log.offset[i]))
    mine = [default for default in defaults if default.featureset == subject.name]
    untrue = [default for default in mine if default.offset > first[default.entity]]
    verdict.wrong += [
        f"a default as if it were true: {default}, first event {first[default.entity]}" for default in untrue
    ]
    verdict.looked["old answers after a failover"] += len(mine) - len(untrue)


def entities(log: Log) -> list[str]:
    """All of a log, and one without events."""
    return [*sorted(set(log.keys) - {""}), _NOBODY]


def _full(size: int, value: int) -> Ints:
    return np.full(size, value, np.int64)
