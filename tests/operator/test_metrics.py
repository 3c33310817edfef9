"""The operator's metrics of conditions."""

from __future__ import annotations

from freshet_operator import metrics
from freshet_operator.plan.conditions import TYPES
from tests.operator.world import served


def test_each_condition_is_three_series_of_which_one_holds_until_the_featureset_is_gone() -> None:
    conditions = metrics.Conditions()
    conditions.show("shop", "clicks", served().resource["status"]["conditions"])
    conditions.show("zoo", "clicks", [{"type": "Ready", "status": "Unknown"}])
    (family,) = conditions.collect()
    values = {(s.labels["namespace"], s.labels["type"], s.labels["status"]): s.value for s in family.samples}
    assert len(values) == 3 * len(TYPES) + 3
    assert sum(values.values()) == len(TYPES) + 1
    assert values["shop", "Ready", "true"] == values["zoo", "Ready", "unknown"] == 1
    assert values["shop", "Degraded", "false"] == 1

    conditions.show("shop", "clicks", [{"type": "Ready", "status": "False"}])
    conditions.forget("zoo", "clicks")
    conditions.forget("zoo", "clicks")
    (family,) = conditions.collect()
    assert {(s.labels["status"], s.value) for s in family.samples} == {("true", 0), ("false", 1), ("unknown", 0)}


def test_they_are_shown() -> None:
    metrics.CONDITIONS.show("shop", "shown", [{"type": "Ready", "status": "True"}])
    line = 'freshet_featureset_condition{name="shown",namespace="shop",status="true",type="Ready"} 1.0'
    assert line in metrics.exposition().decode()
    metrics.CONDITIONS.forget("shop", "shown")
    assert line not in metrics.exposition().decode()
