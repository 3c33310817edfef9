"""What becomes of a dead letter under the present manifests."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from freshet.admin.judge import Judge, Outcome, Reading
from freshet.admin.letters import Content, Letter, Place
from freshet.admin.replay import _bounded
from freshet.spec.load import parse_featureset

MANIFEST = """
apiVersion: freshet.dev/v1alpha1
kind: FeatureSet
metadata: {name: users}
spec:
  version: v1
  entity: {name: user, key: user_id}
  source:
    partitions: 4
    fields: {kind: {type: string, required: true}}
  features:
    - {name: n, aggregate: count}
"""
USERS = parse_featureset(MANIFEST)
NOW = 1_767_225_600_000
AT = datetime.fromtimestamp(NOW / 1000, UTC)
TOPIC = UUID(int=1)
GOOD = json.dumps({"user_id": "ann", "timestamp": NOW, "kind": "view"}).encode()


def letter(revision: str = USERS.definition.revision, offset: int = 50, status: str = "open") -> Letter:
    place = Place(TOPIC, 2, offset, f"default/users/{revision}")
    return Letter(place, "raw-events", AT, "wrong_type", "why", AT, status, AT, None, 10, True)


def outcome(one: Letter, content: Content | None, began: Reading | None = None, topic_id: UUID = TOPIC) -> Outcome:
    judge = Judge({"default/users": USERS}, {"raw-events": topic_id}, lambda *_: began)
    return judge.judge(one, content, NOW).outcome


def held(payload: bytes | None = GOOD, recorded: bool | None = False) -> Content:
    return Content(b"key", payload, recorded)


def test_what_the_same_revision_refused_and_now_accepts() -> None:
    judge = Judge({"default/users": USERS}, {"raw-events": TOPIC}, lambda *_: None)
    verdict = judge.judge(letter(), held(), NOW)
    assert (verdict.outcome, verdict.entity, verdict.target) == (Outcome.ACCEPTED, "ann", USERS)


def test_what_is_still_refused_says_why() -> None:
    judge = Judge({"default/users": USERS}, {"raw-events": TOPIC}, lambda *_: None)
    verdict = judge.judge(letter(), held(b"{}"), NOW)
    assert verdict.outcome is Outcome.STILL_REFUSED
    assert verdict.sentence.startswith("missing_")
    assert outcome(letter(), held(None)) is Outcome.STILL_REFUSED


@pytest.mark.parametrize("status", ["replaying", "replayed", "discarded"])
def test_what_is_settled_stays_so(status: str) -> None:
    assert outcome(letter(status=status), held()) is Outcome.NOT_OPEN


def test_nobody_counts_what_no_featureset_is_there_for() -> None:
    judge = Judge({}, {}, lambda *_: None)
    assert judge.judge(letter(), held(), NOW).outcome is Outcome.NO_FEATURESET


@pytest.mark.parametrize(
    ("began", "recorded", "expected"),
    [
        (Reading(50, 50), False, Outcome.ALREADY_READ),
        (Reading(0, 0), None, Outcome.ALREADY_READ),
        (Reading(51, 51), False, Outcome.ACCEPTED),
        # From history it has read what was an event of some FeatureSet, and nothing else.
        (Reading(0, 60), False, Outcome.ACCEPTED),
        (Reading(0, 60), True, Outcome.ALREADY_READ),
        (Reading(0, 60), None, Outcome.NOT_KNOWN),
        (None, False, Outcome.NOT_KNOWN),
    ],
)
def test_another_revision_may_have_read_it(began: Reading | None, recorded: bool | None, expected: Outcome) -> None:
    assert outcome(letter("0000000000"), held(recorded=recorded), began) is expected


def test_a_topic_made_anew_does_not_hold_it() -> None:
    assert outcome(letter("0000000000"), held(), None, UUID(int=2)) is Outcome.ACCEPTED


def test_a_letter_that_has_gone() -> None:
    assert outcome(replace(letter()), None) is Outcome.NOT_OPEN


def test_batches_fit_into_memory() -> None:
    sizes = [1, 8 << 20, 3 << 20, 6 << 20, 1, 1]
    batch = [replace(letter(offset=i), size=size) for i, size in enumerate(sizes)]
    parts = [[one.place.offset for one in part] for part in _bounded([batch, batch[:1]])]
    assert parts == [[0], [1], [2], [3, 4, 5], [0]]
