"""A FeatureSet with rekey reads a topic of its own, filled from the one that it names."""

from __future__ import annotations

from dataclasses import replace

import pytest

from freshet.runtime.settings import ConfigurationError
from freshet.spec.load import parse_featureset
from freshet.spec.topics import wanted_topics
from freshet.stores import topics
from tests.unit.spec.manifests import SMALL, bent, complaints

REKEYED = bent("retention: 8d", "retention: 8d\n    rekey: true")


def test_the_log_is_the_topic_of_the_entity() -> None:
    plain, rekeyed = parse_featureset(SMALL), parse_featureset(REKEYED)
    assert rekeyed.source.topic == f"{plain.source.topic}.by.{plain.definition.entity}"
    assert (rekeyed.source.intake, plain.source.intake) == (plain.source.topic, plain.source.topic)
    assert plain.source.origin is None
    assert rekeyed.definition.revision != plain.definition.revision
    other = parse_featureset(bent("retention: 8d", f"retention: 8d\n    topic: {rekeyed.source.topic}"))
    assert other.definition.revision == rekeyed.definition.revision, "states are of the log, however it came to be"


def test_topics_and_who_decides_what_they_are_like() -> None:
    plain, rekeyed = parse_featureset(SMALL), parse_featureset(REKEYED)
    wanted = {topic.name: topic for topic in wanted_topics(rekeyed, None, "dead")}
    derived, origin = wanted[rekeyed.source.topic], wanted[rekeyed.source.intake]
    assert (derived.lenient, origin.lenient) == (False, True)
    assert dict(derived.config)["message.timestamp.type"] == "LogAppendTime"
    assert int(dict(derived.config)["max.message.bytes"]) > int(dict(origin.config)["max.message.bytes"])
    more = replace(rekeyed, source=replace(rekeyed.source, partitions=99))
    for order in ([plain, more], [more, plain]):
        made = topics.wanted_topics(order, "dead")
        assert made[plain.source.topic].num_partitions == plain.source.partitions, "its own FeatureSet decides"
        assert made[more.source.topic].num_partitions == 99
    assert topics.wanted_topics([more], "dead")[more.source.intake].num_partitions == 99
    with pytest.raises(ConfigurationError, match=f"topic {rekeyed.source.topic}: FeatureSets"):
        topics.wanted_topics([rekeyed, replace(more, name="other")], "dead")
    foreign = replace(rekeyed, source=replace(rekeyed.source, manage=False))
    assert topics.wanted_topics([foreign], "dead") == {}


def test_what_cannot_be() -> None:
    topic = parse_featureset(SMALL).source.topic
    (line,) = complaints(REKEYED.replace("retention: 8d", "retention: 8d\n    topic: " + "x" * 245))
    assert "with rekey the topic" in line
    assert "at most 249" in line
    text = REKEYED + "  processor: {minReplicas: 0}\n"
    assert any("at least 1 with source.rekey" in line for line in complaints(text))
    for output in (topic, f"{topic}.by.user"):
        text = REKEYED + f"  output: {{topic: {output}}}\n"
        assert any("is the topic that is read" in line for line in complaints(text)), output
