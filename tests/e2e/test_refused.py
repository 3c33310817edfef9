"""Mistakes are told at `kubectl apply` or by a condition, and what was served is still served."""

from __future__ import annotations

import copy

import pytest

from tests.e2e.cluster import Object, Refused
from tests.e2e.conftest import FeatureSets, Installation
from tests.e2e.traffic import featureset


def test_a_typo_is_refused_at_apply(installation: Installation, featuresets: FeatureSets) -> None:
    item = featureset(featuresets.namespace, "typo")
    item["spec"]["features"][1]["aggregate"] = "summ"
    with pytest.raises(Refused, match="aggregate") as refused:
        installation.kubectl.apply(item)
    assert "summ" in str(refused.value)
    misspelt = featureset(featuresets.namespace, "typo")
    misspelt["spec"]["source"]["partitons"] = 4
    with pytest.raises(Refused, match="partitons"):
        installation.kubectl.apply(misspelt)
    assert installation.kubectl.get("featureset", featuresets.namespace, "typo") is None


def test_a_typo_that_only_the_validator_sees_takes_nothing_down(
    installation: Installation, featuresets: FeatureSets
) -> None:
    account = featuresets.ready("careful")
    account.send(60)
    account.check()
    good = copy.deepcopy(installation.kubectl.find("featureset", featuresets.namespace, "careful")["spec"])
    expression = {"name": "mean", "expression": "purchase_amount_24 / nullif(activity_count_24h, 0)"}
    featuresets.patch("careful", {"spec": {"version": "v2", "features": [*good["features"], expression]}})
    ready = installation.kubectl.wait_condition(featuresets.namespace, "careful", "Ready", "False", "InvalidSpec")
    assert "purchase_amount_24h" in ready["message"], ready
    serving = installation.kubectl.condition(featuresets.namespace, "careful", "Serving")
    assert serving["status"] == "True", serving
    account.send(60)
    account.check()
    _repair_still_works(installation, featuresets, "careful")
    featuresets.patch("careful", {"spec": {"version": "v1", "features": good["features"]}})
    installation.kubectl.wait_condition(featuresets.namespace, "careful", "Ready", "True")


def test_a_changed_definition_is_refused_while_the_old_one_serves(
    installation: Installation, featuresets: FeatureSets
) -> None:
    account = featuresets.ready("evolving")
    account.send(60)
    account.check()
    kubectl, here = installation.kubectl, featuresets.namespace
    old = kubectl.find("featureset", here, "evolving")["spec"]["features"]
    more = [*old, {"name": "views", "aggregate": "count", "where": "event_type = 'page_view'", "windows": ["1h"]}]
    with pytest.raises(Refused, match="needs a new version"):
        featuresets.patch("evolving", {"spec": {"features": more}})
    featuresets.patch("evolving", {"spec": {"version": "v2", "features": more}})
    ready = kubectl.wait_condition(here, "evolving", "Ready", "False", "DefinitionChanged")
    print(ready["message"])
    status = featuresets.status("evolving")
    assert status["serving"]["version"] == "v1", status["serving"]
    account.send(60)
    account.check()
    featuresets.patch("evolving", {"spec": {"version": "v1", "features": old}})
    kubectl.wait_condition(here, "evolving", "Ready", "True")


def test_another_number_of_partitions_is_refused(installation: Installation, featuresets: FeatureSets) -> None:
    featuresets.apply("fixed")
    with pytest.raises(Refused, match="partitions"):
        featuresets.patch("fixed", {"spec": {"source": {"partitions": 8}}})


def test_of_two_that_differ_on_a_topic_the_later_is_told(installation: Installation, featuresets: FeatureSets) -> None:
    first = featuresets.ready("first")
    source: Object = copy.deepcopy(
        installation.kubectl.find("featureset", featuresets.namespace, "first")["spec"]["source"]
    )
    featuresets.apply("second", source={**source, "retention": "5d"})
    topics = installation.kubectl.wait_condition(
        featuresets.namespace, "second", "TopicsReady", "False", "ResourceConflict"
    )
    assert "first" in topics["message"], topics
    first.send(60)
    first.check()
    installation.kubectl.wait_condition(featuresets.namespace, "first", "Ready", "True")
    featuresets.delete("first")
    # Nobody claims it otherwise any more: now the topic as it is decides.
    installation.kubectl.wait_condition(featuresets.namespace, "second", "TopicsReady", "True")


def _repair_still_works(installation: Installation, featuresets: FeatureSets, name: str) -> None:
    deployment = featuresets.deployment(name)["metadata"]["name"]
    installation.kubectl.delete("poddisruptionbudget", featuresets.namespace, deployment)
    installation.kubectl("-n", featuresets.namespace, "wait", "--for=create", f"pdb/{deployment}", "--timeout=15s")
