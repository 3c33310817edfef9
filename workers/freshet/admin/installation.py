"""What administration works on: where the parts of an installation are, and which FeatureSets it has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import psycopg

from freshet.runtime.settings import KafkaSettings
from freshet.spec.definition import FeatureSet
from freshet.stores.postgres import connect

_WAIT_MS = 45_000
"""Longest wait for another replay or erasure; one that is under way ends within Kafka's delivery time-out of 30 s."""


class Unavailable(Exception):
    """A part of the installation cannot be used now; the sentence says which and why. Trying again may help."""


class Refused(Exception):
    """What was asked for cannot be done; the sentence says why and what can be."""


@dataclass(frozen=True, slots=True)
class Installation:
    """An installation as its settings describe it."""

    kafka: KafkaSettings
    postgres: str | None
    redis: str | None
    namespace: str
    """Of FeatureSets whose manifest names none."""
    dead_letter_topic: str
    featuresets: Callable[[], Sequence[FeatureSet]]
    """Those that are in use now."""

    def history(self) -> AbstractContextManager[psycopg.Connection]:
        """A connection in autocommit mode, closed at the end. Raises HistoryDown; Refused if there is no history."""
        if self.postgres is None:
            raise Refused("FRESHET_POSTGRES is not set; dead letters and receipts are in the history database")
        return connect(self.postgres, autocommit=True, statement_ms=_WAIT_MS)

    def owner(self, featureset: FeatureSet) -> str:
        """namespace/featureset/revision."""
        return f"{self.full_name(featureset)}/{featureset.definition.revision}"

    def full_name(self, featureset: FeatureSet) -> str:
        """namespace/featureset."""
        return f"{featureset.namespace or self.namespace}/{featureset.name}"

    def named(self) -> dict[str, FeatureSet]:
        """The FeatureSets by namespace/featureset."""
        return {self.full_name(one): one for one in self.featuresets()}
