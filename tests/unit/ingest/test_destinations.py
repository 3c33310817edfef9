"""Which topics there are, who reads them, and what they have to agree on."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from freshet.ingest.destinations import Destination, Destinations
from freshet.ingest.problems import Problem
from freshet.runtime.settings import ConfigurationError
from freshet.spec.definition import FeatureSet
from freshet.stores.topics import wanted_topics
from tests.integration.ingest_service import featureset

NOW = 1_767_609_000_000


def test_feature_sets_of_one_topic_must_agree_on_its_key() -> None:
    with pytest.raises(ConfigurationError, match=r"user_id.*card"):
        Destination([featureset("t", "a"), featureset("t", "b", key="card")])
    with pytest.raises(ConfigurationError, match="no FeatureSet"):
        Destinations.of([])


def test_only_what_nobody_accepts_is_refused() -> None:
    destination = Destination([featureset("t", "strict"), featureset("t", "lenient", required="false")])
    events = [{"user_id": "a", "timestamp": 0}, {"timestamp": 0}, {"user_id": "b", "timestamp": 0, "event_type": "v"}]
    found = destination.sort([json.dumps(event).encode() for event in events], 100, NOW)
    assert [(record.index, record.key) for record in found.accepted] == [(100, b"a"), (102, b"b")]
    assert [(one.index, one.reason) for one in found.rejected] == [(101, "missing_key")]
    assert [event_id is None for event_id in found.event_ids] == [False, True, False]


def test_a_request_says_which_topic_it_means() -> None:
    users, cards = featureset("users", "a"), featureset("cards", "b", entity="card", key="card")
    destinations = Destinations.of([users, cards, featureset("users", "c")])
    assert destinations.choose({"topic": "cards"}).topic == "cards"
    assert destinations.choose({"featureset": "c"}).topic == "users"
    assert destinations.choose({"entity": "card", "topic": "cards"}).topic == "cards"
    with pytest.raises(Problem, match=r"\?topic=users") as ambiguous:
        destinations.choose({})
    assert ambiguous.value.status == 400
    with pytest.raises(Problem, match='no topic "user" here; there is users') as unknown:
        destinations.choose({"topic": "user"})
    assert unknown.value.status == 404
    with pytest.raises(Problem, match="no FeatureSet"):
        destinations.choose({"topic": "cards", "featureset": "a"})


def test_other_feature_sets_later() -> None:
    users, cards = featureset("users", "a"), featureset("cards", "b", entity="card", key="card")
    nothing = Destinations([])
    with pytest.raises(Problem, match="no FeatureSet is applied yet") as none:
        nothing.choose({})
    assert none.value.status == 503
    first, refused = nothing.then([users, cards])
    assert refused == {}
    rival = featureset("users", "rival", key="other")
    second, refused = first.then([rival, users, cards])
    assert list(refused) == ["rival"]
    assert "one of them needs another topic" in refused["rival"]
    assert second.choose({"topic": "users"}).featuresets == ["a"]
    assert second.choose({"topic": "cards"}) is first.choose({"topic": "cards"})
    third, refused = second.then([rival])
    assert (refused, [one.topic for one in third.all]) == ({}, ["users"])
    assert third.then([])[0].all == []


def test_managed_topics() -> None:
    plain = featureset("events")
    wanted = wanted_topics([plain, featureset("events", "other")], "dead-letters")
    assert set(wanted) == {"events", "dead-letters", plain.output_topic} - {None}
    config = wanted["events"].config
    assert config is not None
    assert (config["message.timestamp.type"], config["min.insync.replicas"]) == ("LogAppendTime", "1")
    foreign = replace(plain, source=replace(plain.source, manage=False))
    assert wanted_topics([foreign], "dead-letters") == {}
    assert wanted_topics([plain], "dead-letters", replication=3)["events"].replication_factor == 3
    larger = replace(plain, name="larger", source=replace(plain.source, partitions=99))
    with pytest.raises(ConfigurationError, match="activity and larger"):
        wanted_topics([plain, larger], "dead-letters")


def rekeyed(name: str, entity: str, key: str, topic: str = "t") -> FeatureSet:
    one = featureset(topic, name, entity=entity, key=key, required="false")
    return replace(one, source=replace(one.source, origin=topic, topic=f"{topic}.by.{entity}"))


def keys(destination: Destination, *events: dict[str, Any]) -> list[bytes | None]:
    found = destination.sort([json.dumps({**event, "timestamp": 0}).encode() for event in events], 0, NOW)
    by_index = {record.index: record.key for record in found.accepted}
    return [by_index.get(i) for i in range(len(events))]


def test_events_of_a_topic_that_is_rekeyed_have_its_own_key() -> None:
    own, cards = featureset("t", "own"), rekeyed("cards", "card", "card_id")
    good = {"user_id": "u", "card_id": "c", "event_type": "v"}
    for order in ([own, cards], [cards, own]):
        destination = Destination(order)
        assert destination.topic == "t"
        # The second lacks what `own` requires, the third its key: only `cards` takes them.
        events = (good, {"user_id": "u", "card_id": 7}, {"card_id": "c"}, {"user_id": "u"}, {"user_id": "u", **good})
        assert keys(destination, *events) == [b"u", b"u", b"c", None, b"u"]


def test_where_all_rekey_the_first_that_accepts_an_event_gives_the_key() -> None:
    destination = Destination([rekeyed("cards", "card", "card_id"), rekeyed("devices", "device", "device_id")])
    assert keys(destination, {"card_id": 1, "device_id": "d"}, {"device_id": "d"}, {}) == [b"1", b"d", None]


def test_requests_mean_the_origin_by_any_of_its_feature_sets() -> None:
    other = featureset("other", "other")
    destinations = Destinations.of([featureset("t", "own"), rekeyed("cards", "card", "card_id"), other])
    assert {destinations.choose(query).topic for query in ({"featureset": "cards"}, {"entity": "card"})} == {"t"}
    with pytest.raises(Problem, match="no topic"):
        destinations.choose({"topic": "t.by.card"})


def test_feature_sets_of_one_derived_topic_must_agree_on_its_key() -> None:
    first, other = rekeyed("cards", "card", "card_id"), rekeyed("others", "card", "card_no")
    with pytest.raises(ConfigurationError, match=r"t\.by\.card: its records are keyed by card_id"):
        Destination([featureset("t", "own"), first, other])
    found, refused = Destinations([]).then([featureset("t", "own"), first, other])
    assert list(refused) == ["others"]
    assert found.choose({}).featuresets == ["own", "cards"]
