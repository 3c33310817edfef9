"""One FeatureSet of a round: where its log, its states and its history are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import redis

from freshet.spec import naming
from freshet.spec.definition import Definition, FeatureSet
from freshet.spec.partitioning import partition_of
from freshet.stores.fence import Progress
from freshet.stores.redis import Client, Failures, execute


@dataclass(frozen=True, slots=True)
class Subject:
    """What is judged."""

    file: Path
    """Its manifest."""
    featureset: FeatureSet
    namespace: str
    connect: Callable[[], Client]
    """A client of the store."""

    @property
    def name(self) -> str:
        """Of the FeatureSet."""
        return self.featureset.name

    @property
    def definition(self) -> Definition:
        """Of its features."""
        return self.featureset.definition

    @property
    def topic(self) -> str:
        """Its log: the copies, where it is re-keyed."""
        return self.featureset.source.topic

    @property
    def partitions(self) -> int:
        """Of its log."""
        return self.featureset.source.partitions

    @property
    def output(self) -> str:
        """The topic of its vectors."""
        return str(self.featureset.output_topic)

    @property
    def owner(self) -> str:
        """The revision, as dead letters and checkpoints name it."""
        return naming.owner(self.namespace, self.name, self.definition.revision)

    def tag(self, partition: int) -> str:
        """Of the keys of a partition."""
        return naming.tag(self.namespace, self.name, self.definition.revision, partition)

    def progress(self) -> list[Progress | None]:
        """What the store says of each partition; None for each while it does not answer."""
        try:
            with self.connect() as store:
                keys = [naming.progress_key(self.tag(p)) for p in range(self.partitions)]
                found = [execute(store, "GET", key) for key in keys]
        except (*Failures, redis.RedisError):
            return [None] * self.partitions
        return [None if data is None else Progress.parse(data) for data in found]

    def offset_of(self, key: str) -> int | None:
        """Where progress of an entity's partition is; None if the store does not tell."""
        found = self.progress()[partition_of(key, self.partitions, "murmur2")]
        return None if found is None else found.offset
