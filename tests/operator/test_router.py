"""From what the watch tells to keys: what concerns somebody is added, noise is not."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from freshet_operator.interest import Interests
from freshet_operator.model import Key
from freshet_operator.names import LABEL_FEATURESET
from freshet_operator.queue import WorkQueue
from freshet_operator.router import Router
from freshet_operator.settings import ProcessorTemplate, Settings
from freshet_operator.store import Store

SERVING = Key("Serving", "op", "freshet-featuresets")
A = Key("FeatureSet", "shop", "a")
SPEC = yaml.safe_load("""
version: v1
entity: {name: user, key: user_id}
source: {topic: events, partitions: 3, retention: 2d, timestamp: timestamp, eventId: event_id}
features: [{name: count, aggregate: count, windows: [1h]}]
""")


def settings() -> Settings:
    return Settings(processor=ProcessorTemplate(image="x"), kafka="k:9092", own_namespace="op", identity="me")


def fs(
    name: str = "a", version: int = 1, namespace: str = "shop", topic: str = "events", **meta: Any
) -> dict[str, Any]:
    spec = copy.deepcopy(SPEC)
    spec["source"]["topic"] = topic
    found = {"namespace": namespace, "name": name, "uid": f"u-{name}", "resourceVersion": str(version), "generation": 1}
    return {
        "apiVersion": "freshet.dev/v1alpha1",
        "kind": "FeatureSet",
        "metadata": {**found, **meta},
        "spec": spec,
    }


def child(kind: str, version: int = 1, **rest: Any) -> dict[str, Any]:
    meta = {
        "namespace": "shop",
        "name": "a-1",
        "uid": "c",
        "resourceVersion": str(version),
        "labels": {LABEL_FEATURESET: "a"},
        **rest.pop("metadata", {}),
    }
    return {"kind": kind, "metadata": meta, **rest}


class Told:
    """A router and what it has added since the last look."""

    def __init__(self) -> None:
        self.queue = WorkQueue()
        self.interests = Interests(settings())
        self.router = Router(self.queue, Store(), self.interests, SERVING)

    def added(self) -> set[Key]:
        keys = set(self.queue._due)
        for key in keys:
            self.queue.forget(key)
        return keys


def in_loop(test: Callable[[Told], None]) -> None:
    async def run() -> None:
        test(Told())

    asyncio.run(run())


def test_new_changed_and_deleted_resources_are_added_and_our_own_status_is_not() -> None:
    def test(told: Told) -> None:
        told.router.resource(fs(), deleted=False)
        assert told.added() == {A, SERVING}
        told.router.resource({**fs(version=2), "status": {"phase": "Serving"}}, deleted=False)
        assert told.added() == set()
        told.router.resource(fs(version=3, generation=2), deleted=False)
        assert told.added() == {A}
        told.router.resource(fs(version=4, generation=2, annotations={"freshet.dev/paused": "true"}), deleted=False)
        assert told.added() == {A}
        told.router.resource(fs(version=5, generation=2), deleted=True)
        assert told.added() == {A, SERVING}
        assert list(told.interests.all()) == []

    in_loop(test)


def test_those_that_share_a_topic_or_the_name_hear_of_it() -> None:
    def test(told: Told) -> None:
        for other in (fs("b"), fs("c", topic="other"), fs("a", namespace="x", topic="third")):
            told.router.resource(other, deleted=False)
        told.added()
        told.router.resource(fs(), deleted=False)
        assert told.added() == {A, SERVING, Key("FeatureSet", "shop", "b"), Key("FeatureSet", "x", "a")}
        told.router.resource(fs(version=2), deleted=True)
        assert told.added() == {A, SERVING, Key("FeatureSet", "shop", "b"), Key("FeatureSet", "x", "a")}

    in_loop(test)


def test_a_list_is_heard_like_the_watch() -> None:
    def test(told: Told) -> None:
        from freshet_operator.store import remembered

        told.router.listed([remembered(fs())])
        assert told.added() == {A, SERVING}
        told.router.listed([])
        assert told.added() == {A, SERVING}

    in_loop(test)


@pytest.mark.parametrize(
    ("kind", "noise", "news"),
    [
        (
            "Deployment",
            {"metadata": {"managedFields": [{}]}},
            {"status": {"readyReplicas": 1}},
        ),
        ("PodDisruptionBudget", {"status": {"currentHealthy": 3}}, {"metadata": {"generation": 2}}),
        ("Pod", {"status": {"startTime": "now"}}, {"status": {"phase": "Running"}}),
        ("Pod", {}, {"status": {"containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff"}}}]}}),
        ("NetworkPolicy", {}, {"metadata": {"generation": 1, "labels": {LABEL_FEATURESET: "a", "mine": "x"}}}),
        ("Job", {}, {"status": {"conditions": [{"type": "Complete", "status": "True"}]}}),
    ],
)
def test_children_are_heard_where_they_are_read(kind: str, noise: dict[str, Any], news: dict[str, Any]) -> None:
    def changed(version: int, given: dict[str, Any]) -> dict[str, Any]:
        meta = {"generation": 1, **given.get("metadata", {})}
        return child(kind, version, **{**given, "metadata": meta})

    def test(told: Told) -> None:
        told.router.child(changed(1, {}), deleted=False)
        assert told.added() == {A}
        told.router.child(changed(2, noise), deleted=False)
        assert told.added() == set()
        told.router.child(changed(3, news), deleted=False)
        assert told.added() == {A}
        told.router.child(changed(4, news), deleted=True)
        assert told.added() == {A}

    in_loop(test)


def test_children_without_a_generation_are_heard_at_every_change() -> None:
    def test(told: Told) -> None:
        told.router.child(child("ConfigMap", 1), deleted=False)
        told.router.child(child("ConfigMap", 1), deleted=False)
        assert told.added() == {A}
        told.router.child(child("ConfigMap", 2), deleted=False)
        assert told.added() == {A}

    in_loop(test)


def test_topics_in_use_are_claimed_while_the_spec_is_invalid() -> None:
    interests = Interests(settings())
    broken = fs("b")
    broken["spec"]["features"] = []
    broken["status"] = {"topics": [{"name": "events", "partitions": 3, "managed": True}]}
    interests.learn(fs())
    interests.learn(broken)
    (claim,) = interests.claims(A)
    assert [(topic.name, topic.manage) for topic in claim.topics] == [("events", False)]
    assert interests.of(broken).source == "events"


def test_dead_letters_are_everybodys_unless_they_are_a_source() -> None:
    interests = Interests(settings())
    interests.learn(fs())
    interests.learn(fs("b", topic="other"))
    assert interests.claims(A) == ()
    interests.learn(fs("c", topic="dead-letter-queue"))
    assert [claim.name for claim in interests.claims(A)] == ["c"]
    assert [claim.name for claim in interests.claims(Key("FeatureSet", "shop", "c"))] == ["a", "b"]


def test_a_child_whose_label_was_edited_is_its_owners() -> None:
    def test(told: Told) -> None:
        owned = {"labels": {LABEL_FEATURESET: "else"}, "ownerReferences": [{"kind": "FeatureSet", "name": "a"}]}
        told.router.child(child("ServiceAccount", metadata=owned), deleted=False)
        assert told.added() == {A, Key("FeatureSet", "shop", "else")}

    in_loop(test)
