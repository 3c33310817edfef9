"""What would become of a dead letter that was sent again now. A function of the letter and of the present manifests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from freshet.admin.letters import Content, Letter
from freshet.engine.decode import EventDecoder
from freshet.spec.definition import FeatureSet
from freshet.spec.partitioning import partition_of


class Outcome(StrEnum):
    """What a replay does, or why it does nothing."""

    ACCEPTED = "accepted"
    """The present revision would count it, or leave it out as the duplicate that it is."""
    STILL_REFUSED = "still_refused"
    ALREADY_READ = "already_read"
    """The present revision has read, or will read, the original from the log."""
    NOT_KNOWN = "not_known"
    """Whether it has cannot be told, so that it might count twice."""
    NO_FEATURESET = "no_featureset"
    NOT_OPEN = "not_open"
    """Replayed or discarded before, or on its way."""
    ERASED = "erased"
    """Its entity is being erased."""
    REPLAYED = "replayed"
    IN_DOUBT = "in_doubt"
    """Kafka did not say whether it has it; the recorder will see."""
    FAILED = "failed"
    """Kafka did not take it; it is open as before."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """About one letter."""

    letter: Letter
    outcome: Outcome
    sentence: str
    target: FeatureSet | None = None
    """The FeatureSet that would count it."""
    entity: str | None = None
    """Whose event it is, if it would be accepted."""
    replayed: tuple[int, int] | None = None
    """Where it stands in the log now."""

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        found = {"id": self.letter.id, "featureset": self.letter.featureset, "reason": self.letter.reason}
        return {
            **found,
            "outcome": self.outcome.value,
            "sentence": self.sentence,
            "replayed": None
            if self.replayed is None
            else dict(zip(("partition", "offset"), self.replayed, strict=True)),
        }


class Reading(NamedTuple):
    """From where a revision has read the log."""

    offset: int
    """Before it nothing."""
    kafka_from: int
    """Before it only what history held as events of some FeatureSet."""


Began = Callable[[FeatureSet, int], Reading | None]
"""(FeatureSet, partition) → from where the present revision has read the log; None: not known."""


class Judge:
    """Knows the present manifests."""

    def __init__(self, named: Mapping[str, FeatureSet], topic_ids: Mapping[str, UUID], began: Began) -> None:
        """FeatureSets by `namespace/name`, ids of the source topics by name, and where revisions began."""
        self._named = named
        self._topic_ids = topic_ids
        self._began = began
        self._decoders: dict[str, EventDecoder] = {}

    def judge(self, letter: Letter, content: Content | None, now_ms: int) -> Verdict:
        """Under the present manifest, if the broker stamped the record with `now_ms`."""
        if letter.status != "open":
            return Verdict(letter, Outcome.NOT_OPEN, _SETTLED[letter.status])
        if content is None:
            return Verdict(letter, Outcome.NOT_OPEN, "the letter is not there any more")
        target = self._named.get(letter.featureset)
        if target is None:
            known = ", ".join(sorted(self._named)) or "none"
            return Verdict(
                letter, Outcome.NO_FEATURESET, f"there is no FeatureSet {letter.featureset} now; there are {known}"
            )
        seen = self._seen(letter, content, target)
        return seen or self._decoded(letter, content, target, now_ms)

    def _seen(self, letter: Letter, content: Content, target: FeatureSet) -> Verdict | None:
        """Whether the present revision reads the original by itself."""
        present, refused = target.definition.revision, letter.place.owner.rpartition("/")[2]
        same_log = self._topic_ids.get(target.source.topic) == letter.place.topic_id
        if present == refused or not same_log:
            return None  # it has refused it, or its log is another one
        began, offset = self._began(target, letter.place.partition), letter.place.offset
        if began is not None and (offset < began.offset or (offset < began.kafka_from and content.recorded is False)):
            return None
        if began is None or (offset < began.kafka_from and content.recorded is None):
            return Verdict(
                letter,
                Outcome.NOT_KNOWN,
                f"revision {refused} refused it, revision {present} counts now, and where in the log that began to "
                "read is not known: it may have counted the original",
            )
        return Verdict(
            letter,
            Outcome.ALREADY_READ,
            f"revision {present} reads the original itself, as it began at offset {began.offset}: there is nothing to "
            "do, discard the letter",
        )

    def _decoded(self, letter: Letter, content: Content, target: FeatureSet, now_ms: int) -> Verdict:
        revision = target.definition.revision
        decoder = self._decoders.get(revision)
        if decoder is None:
            decoder = self._decoders[revision] = EventDecoder(target.definition)
        judged = decoder.judge([content.payload], now_ms)
        if judged.rejected:
            item = judged.rejected[0]
            return Verdict(letter, Outcome.STILL_REFUSED, f"{item.reason.value}: {item.sentence}")
        entity = judged.keys[0]
        home = partition_of(entity, target.source.partitions, target.source.partitioner)
        return Verdict(
            letter,
            Outcome.ACCEPTED,
            f"revision {revision} would count it, on partition {home}",
            target,
            entity,
        )


_SETTLED = {
    "replaying": "a replay of it is under way, or was interrupted and is not resolved yet",
    "replayed": "it was replayed already; a second time it would count twice",
    "discarded": "it was discarded",
}
