"""Which topics are recorded, and for how long."""

from __future__ import annotations

from dataclasses import replace

from freshet.recorder.plan import Plan
from freshet.recorder.topics import Role, retention_of, topics_of
from tests.unit.recorder.test_judge import featureset

A, B = featureset("a", "x"), featureset("b", "y")


def test_topics_and_their_roles() -> None:
    vectors = replace(B, output_topic="vectors")
    found = topics_of([vectors, A], "default", "dead")
    assert {name: topic.role for name, topic in found.items() if topic.role is not Role.DEAD_LETTERS} == {
        "raw-events": Role.EVENTS,
        "vectors": Role.VECTORS,
    }
    assert [fs.name for fs in found["raw-events"].featuresets] == ["a", "b"], "in order of their names"
    assert topics_of([], "default", "dead") == {}


def test_a_topic_that_is_a_source_and_an_output_is_recorded_as_a_source() -> None:
    found = topics_of([A, replace(B, output_topic="raw-events")], "default", "dead")
    assert found["raw-events"].role is Role.EVENTS


def test_the_longest_retention_counts_and_nobody_is_for_ever() -> None:
    day = 86_400_000
    kept = retention_of([replace(A, history_events_ms=day), replace(B, history_events_ms=3 * day)])
    assert (kept.events_ms, kept.snapshots_ms) == (3 * day, 90 * day)
    assert retention_of([]).events_ms is None


def test_what_did_not_change_keeps_its_judge() -> None:
    other = replace(B, source=replace(B.source, topic="others"))
    before = Plan.of([A, other], "default", "dead")
    after = Plan.of([A, replace(other, history_events_ms=1)], "default", "dead", before)
    assert after.judges["raw-events"] is before.judges["raw-events"]
    assert after.judges["others"] is not before.judges["others"]
