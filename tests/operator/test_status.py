"""What a status says when writes are refused, and that figures alone are no reason to write often."""

from __future__ import annotations

from typing import Any

from freshet_operator.apply import Done, Failed
from freshet_operator.model import Write
from freshet_operator.status import changed, only_figures_changed, with_failures

DEPLOYMENT = Write("apply", "Deployment a")
READY = {"type": "Ready", "status": "True", "reason": "AllPartsReady", "message": "", "lastTransitionTime": "T0"}


def refused(transient: bool) -> Done:
    return Done(failure=Failed(DEPLOYMENT, "apply Deployment a: 403 Forbidden: exceeded quota", transient))


def by_type(status: dict[str, Any]) -> dict[str, Any]:
    return {one["type"]: one for one in status["conditions"]}


def test_a_refused_write_is_said_and_stays_the_same_until_it_changes() -> None:
    planned = {"phase": "Serving", "conditions": [READY]}
    first = with_failures(planned, {}, 3, refused(False), 0)
    assert by_type(first)["Ready"]["status"] == "False"
    assert by_type(first)["Degraded"]["reason"] == "WriteRefused"
    assert (first["reason"], "quota" in first["message"]) == ("WriteRefused", True)
    again = with_failures(planned, first, 3, refused(False), 90_000)
    assert again == first, "every retry would write the status again"


def test_what_passes_by_itself_is_not_said() -> None:
    planned = {"conditions": [READY]}
    assert with_failures(planned, {}, 3, refused(True), 0) is planned
    assert with_failures(planned, {}, 3, Done(), 0) is planned


def test_kafkas_refusal_is_the_topics() -> None:
    failed = Failed(Write("create-topic", "topic t"), "topic t: POLICY_VIOLATION: no", False)
    found = with_failures({"conditions": [READY]}, {}, 3, Done(kafka_failures=[failed]), 0)
    assert by_type(found)["TopicsReady"]["reason"] == "KafkaRefused"
    assert by_type(found)["Ready"] == READY


def test_figures() -> None:
    old = {"phase": "Serving", "lag": 1, "freshness": "10ms"}
    assert not changed(old, dict(old))
    assert only_figures_changed(old, {**old, "lag": 5})
    assert not only_figures_changed(old, {**old, "phase": "Degraded"})


def test_a_timer_that_begins_is_a_figure_and_one_that_ends_is_not() -> None:
    before = {"phase": "Serving", "lag": 1, "scaling": {"replicas": 1}}
    begun = {**before, "scaling": {"replicas": 1, "shortSince": "2026-01-05T10:00:00Z"}}
    later = {**before, "scaling": {"replicas": 1, "shortSince": "2026-01-05T10:01:00Z"}}
    assert only_figures_changed(before, begun)
    assert not only_figures_changed(begun, before)
    assert not only_figures_changed(begun, later)
    assert not only_figures_changed(before, {**begun, "scaling": {"replicas": 2}})
