"""The topics of a FeatureSet under this installation's settings."""

from __future__ import annotations

from freshet.spec import topics
from freshet.spec.definition import FeatureSet
from freshet_operator.model import Topic
from freshet_operator.settings import Settings


def wanted_topics(featureset: FeatureSet, settings: Settings) -> tuple[Topic, ...]:
    """Source, output, dead letters: see `freshet.spec.topics`."""
    return topics.wanted_topics(featureset, settings.replication, settings.dead_letter_topic)
