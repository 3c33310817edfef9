"""The verdict notices what it is there for: whatever is lost, doubled or wrong in a round is named."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from freshet.dev.oracle.compare import differences
from freshet.dev.oracle.log import Log
from freshet.dev.oracle.run import Oracle, Reads
from freshet.engine.reader import Vectors
from freshet.engine.vectors import feature_rows
from freshet.spec.load import parse_featureset
from freshet.spec.partitioning import partition_of
from tests.chaos import stream, verdict
from tests.chaos.driver import Account, Outcome
from tests.chaos.evidence import Evidence, logs_of
from tests.chaos.explain import doubled, explain, explanation, of_entity, without
from tests.chaos.manifests import users
from tests.chaos.subject import Subject
from tests.chaos.topics import Message
from tests.chaos.verdict import Verdict, Wrong, entities

FS = parse_featureset(users("events"))
SUBJECT = Subject(Path("users.yaml"), FS, "round1", lambda: pytest.fail("nothing of the store is judged here"))
NOW = 1_800_000_000_000


def record(offset: int, event: dict[str, Any], number: int) -> Message:
    """An event as a try brings it into its partition; offsets may have gaps."""
    p = partition_of(event["user_id"], FS.source.partitions, "murmur2")
    value = json.dumps({**event, "try": number}).encode()
    return Message(p, offset, event["timestamp"] + 5, value, event["user_id"].encode(), [])


@pytest.fixture(scope="module")
def raw() -> list[Message]:
    """A log of some hundred events, each of a try of its own."""
    clock = iter(range(NOW, NOW + 10_000_000, 100))
    source = stream.events(3, lambda: next(clock))
    found = [record(i, next(source), i) for i in range(600)]
    return sorted(found, key=lambda m: m[:2])


@pytest.fixture(scope="module")
def logs(raw: list[Message]) -> dict[int, Log]:
    return logs_of(raw, FS)


def account(raw: list[Message], outcome: Outcome = Outcome.ACKNOWLEDGED) -> Account:
    """What a driver knows that sent exactly this."""
    events = [json.loads(m.value or b"") for m in raw]
    ids = {e["try"]: [e["event_id"]] for e in events}
    return Account(dict.fromkeys(ids, outcome), ids)


def judged(raw: list[Message], known: Account) -> Verdict:
    found = Verdict()
    verdict.judge_log(Evidence(SUBJECT, known, raw, {}, [], [], []), found)
    return found


def test_a_log_that_is_what_was_sent_is_good(raw: list[Message]) -> None:
    assert judged(raw, account(raw)).good
    assert judged(raw, account(raw, Outcome.DOUBTFUL)).good
    assert judged(raw[:-9], account(raw, Outcome.DOUBTFUL)).good, "what is in doubt may be missing"


def test_an_acknowledged_event_that_is_missing_is_lost(raw: list[Message]) -> None:
    found = judged(raw[1:], account(raw))
    assert (len(found.lost), len(found.doubled)) == (1, 0)


def test_an_event_that_is_there_more_often_than_it_was_sent_is_doubled(raw: list[Message]) -> None:
    found = judged([*raw, raw[0]], account(raw))
    assert (len(found.lost), len(found.doubled)) == (0, 1)
    assert len(judged(raw[:1], account(raw[:1], Outcome.REFUSED)).doubled) == 1, "refused, but there"
    assert len(judged(raw[:2], account(raw[:1])).doubled) == 1, "nobody sent it"


def test_an_event_in_doubt_that_is_there_twice_is_counted(raw: list[Message]) -> None:
    found = judged([*raw, raw[0]], account(raw, Outcome.DOUBTFUL))
    assert found.good
    assert found.looked["in doubt and more than once in the log"] == 1


def test_a_poisonous_record_that_is_missing_is_lost(raw: list[Message]) -> None:
    known = account(raw)
    known.poison = [b"{broken"]
    assert len(judged(raw, known).lost) == 1
    assert judged([*raw, Message(0, 999, NOW, b"{broken", b"k", [])], known).good


def letters(raw: list[Message], logs: dict[int, Log]) -> list[Message]:
    """One for each invalid record."""
    out: list[Message] = []
    for m in raw:
        log = logs[m.partition]
        at = int(np.searchsorted(log.offset, m.offset))
        if not log.valid(FS.definition)[at]:
            pairs = {"topic": "events", "partition": m.partition, "offset": m.offset, "reason": "r", "sentence": "s"}
            headers = [(f"freshet-{name}", str(value).encode()) for name, value in pairs.items()]
            out.append(Message(0, len(out), NOW, m.value, m.key, headers))
    return out


def test_letters_are_held_against_the_log(raw: list[Message], logs: dict[int, Log]) -> None:
    good = letters(raw, logs)
    assert len(good) > 2

    def judged_letters(sent: list[Message]) -> Verdict:
        found = Verdict()
        verdict.judge_letters(Evidence(SUBJECT, Account(), raw, logs, [], [], sent), found)
        return found

    assert judged_letters(good).good
    assert judged_letters([*good, good[0]]).good, "a repeat names its source and can be told"
    assert len(judged_letters(good[1:]).lost) == 1
    changed = good[0]._replace(value=b"other")
    assert len(judged_letters([changed, *good[1:]]).wrong) == 1
    valid = next(m for m in raw if logs[m.partition].valid(FS.definition)[logs[m.partition].offset == m.offset].any())
    headers = [(n, str(valid.offset).encode() if n == "freshet-offset" else v) for n, v in good[0].headers]
    headers = [(n, str(valid.partition).encode() if n == "freshet-partition" else v) for n, v in headers]
    found = judged_letters([*good, good[0]._replace(value=valid.value, headers=headers)])
    assert len(found.doubled) == 1, "a good record with a letter"


def vectors(oracle: Oracle, logs: dict[int, Log], as_if: dict[int, Log]) -> list[dict[str, Any]]:
    """The newest vector of every entity, with the values of another log."""
    out = []
    for p, log in logs.items():
        keys = sorted({log.keys[i] for i in np.flatnonzero(log.accepted(FS.definition)).tolist()})
        at = NOW + 100_000
        reads = Reads(keys, np.full(len(keys), log.end, np.int64), np.full(len(keys), at, np.int64))
        values = oracle.values(as_if[p], reads)
        made = Vectors(values.q_ms, reads.upto, values.newest_ms, values.columns, 0)
        for key, row, q in zip(keys, feature_rows(made, FS.definition), values.q_ms.tolist(), strict=True):
            out.append({"user_id": key, "partition": p, "offset": log.end, "as_of": q, "features": row})
    return out


def test_vectors_are_held_against_sql_at_their_offset_and_time(logs: dict[int, Log]) -> None:
    with Oracle(FS.definition) as oracle:

        def judged_vectors(sent: list[dict[str, Any]]) -> Verdict:
            found = Verdict()
            verdict.judge_vectors(Evidence(SUBJECT, Account(), [], logs, [], sent, []), found, oracle)
            return found

        good = vectors(oracle, logs, logs)
        assert judged_vectors(good).good
        assert len(judged_vectors(good[1:]).lost) == 1, "an entity whose events are in no vector"
        p = good[0]["partition"]
        counted = np.flatnonzero(logs[p].accepted(FS.definition))
        forgetful = {**logs, p: without(logs[p], counted[-1:])}
        assert judged_vectors(vectors(oracle, logs, forgetful)).wrong


@pytest.mark.parametrize("change", ["left out", "counted twice"])
def test_the_shortest_log_of_a_wrong_value_is_found(logs: dict[int, Log], change: str) -> None:
    rng = random.Random(change)
    with Oracle(FS.definition) as oracle:
        p = max(logs, key=lambda q: max(Counter(logs[q].keys).values()))
        entity = Counter(logs[p].keys).most_common(1)[0][0]
        log = of_entity(logs[p], entity, logs[p].end)
        events = np.flatnonzero(log.accepted(FS.definition))
        start = rng.randrange(len(events) - 7)
        run = events[start : start + 5]
        other = without(log, run) if change == "left out" else doubled(log, run)
        reads = Reads([entity], np.array([log.end]), np.array([NOW + 90_000]))
        expected, got = oracle.values(log, reads), oracle.values(other, reads)
        wrong = [Wrong("state", p, log.end, one) for one in differences(oracle, reads, expected, got.columns, got.q_ms)]
        found = explanation(oracle, log, wrong)
        assert found is not None
        assert change in found[0]
        assert len(found[1]) == 5
        told = explain(oracle, logs, wrong, [])
        assert entity in told
        assert all(str(log.event_ids[i]) in told for i in found[1].tolist())


def test_entities_are_all_keys_and_a_stranger(logs: dict[int, Log]) -> None:
    assert entities(logs[0])[-1] not in logs[0].keys
    assert set(entities(logs[0])[:-1]) == set(logs[0].keys) - {""}
