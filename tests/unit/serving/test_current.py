"""Swapping what is served: what stays, what goes, and namespaces."""

from __future__ import annotations

import pytest

from freshet.serving.catalogue import Catalogue
from freshet.serving.current import Current
from freshet.serving.problems import Problem
from freshet.spec.load import parse_featureset
from tests.unit.serving.build import ACTIVITY, CARDS, ORDERS, featuresets


def test_a_switch_keeps_what_did_not_change() -> None:
    current = Current(Catalogue(featuresets(ACTIVITY, CARDS), "test"))
    before = current.snapshot
    assert current.switch(featuresets(ACTIVITY.replace("version: v2", "version: v3"), CARDS, ORDERS)) == {}
    after = current.snapshot
    assert after.catalogue.served["card-activity"] is before.catalogue.served["card-activity"]
    assert after.catalogue.find("user-activity").version == "v3"
    assert before.catalogue.find("user-activity").version == "v2"
    assert before.selector.from_query(b"featureset=user-activity", None).parts[0].served.version == "v2"
    current.switch([])
    for query in (b"", b"entity=user", b"featureset=a", b"version=v1"):
        with pytest.raises(Problem, match="no FeatureSet is applied yet") as found:
            current.snapshot.selector.from_query(query, None)
        assert (found.value.status, found.value.code) == (404, "no_featuresets")


def test_the_namespace_of_a_manifest_wins() -> None:
    mine = parse_featureset(ACTIVITY.replace("{name: user-activity}", "{name: user-activity, namespace: team}"))
    catalogue = Catalogue([mine, *featuresets(CARDS)], "setting")
    assert catalogue.find("user-activity").tags[0].startswith("{team/user-activity/")
    assert catalogue.find("card-activity").tags[0].startswith("{setting/card-activity/")
