"""Where events go: the topics of the manifests, who reads them, and what each reader accepts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from freshet.engine.decode import EventDecoder, Judged, Rejected
from freshet.engine.examine import MAX_BYTES
from freshet.engine.rejection import Refusal
from freshet.engine.rekeying import KeyReader
from freshet.ingest.envelope import Envelope, received_at
from freshet.ingest.problems import Problem, unavailable, unknown
from freshet.runtime.settings import ConfigurationError
from freshet.spec.definition import FeatureSet


@dataclass(slots=True)
class Record:
    """One accepted event as it goes to Kafka."""

    index: int
    """Position in the request."""
    key: bytes
    value: bytes


@dataclass(slots=True)
class Sorted:
    """The events of (a part of) a request, judged."""

    accepted: list[Record]
    rejected: list[Rejected]
    event_ids: list[str | None]
    """One an event: the client's or the one it got; None for what was not accepted."""


class Destination:
    """One topic. Raises ConfigurationError if its FeatureSets cannot share it.

    Events are keyed by the entity of those that read the topic itself. Where all re-key it, the first one that accepts
    an event gives the key: any will do, and a sender's repeats get the same.
    """

    def __init__(self, featuresets: Sequence[FeatureSet]) -> None:
        self.made_of = tuple(featuresets)
        first = _own_first(featuresets)[0]
        self.topic = first.source.intake
        self.partitioner = first.source.partitioner
        self.featuresets = [one.name for one in featuresets]
        self.entities = {one.definition.entity for one in featuresets}
        for place, other in enumerate(featuresets):
            for one in featuresets[:place]:
                _check_shared(one, other)
        names = dict.fromkeys(one.definition.event_id for one in featuresets)
        keys = {one.definition.key for one in featuresets}
        self._envelope = Envelope([name for name in names if name not in keys])
        self._decoders = [EventDecoder(one.definition) for one in _own_first(featuresets)]
        self._own_key = KeyReader(first.definition.key) if first.source.origin is None else None

    def sort(self, events: Sequence[bytes], first_index: int, now_ms: int) -> Sorted:
        """Completes and judges events; refused is only what no FeatureSet of the topic could accept.

        `first_index` is the position of the first one in its request.
        """
        received = received_at(now_ms)
        completed = [self._envelope.complete(event, received, MAX_BYTES) for event in events]
        values = [value for value, _ in completed]
        ids = [event_id for _, event_id in completed]
        judged = self._decoders[0].judge(values, now_ms)
        rejected = judged.rejected
        records = _records(judged, values, range(len(values)), first_index)
        for decoder in self._decoders[1:]:
            if not rejected:
                break
            places = [one.index for one in rejected]
            again = decoder.judge([values[place] for place in places], now_ms)
            records += self._keyed(_records(again, values, places, first_index))
            taken = {places[position] for position in again.positions}
            rejected = [one for one in rejected if one.index not in taken]
        if len(self._decoders) > 1:
            records.sort(key=lambda record: record.index)
        for one in rejected:
            ids[one.index] = None
        return Sorted(records, [replace(one, index=first_index + one.index) for one in rejected], ids)

    def _keyed(self, records: list[Record]) -> list[Record]:
        """What the topic's own FeatureSets refuse lies where they would look for it: another version may count it."""
        reader = self._own_key
        if reader is None:
            return records
        for record in records:
            with suppress(Refusal):
                own = reader.read(record.value)
                record.key = record.key if own is None else own.encode()
        return records


def _own_first(featuresets: Sequence[FeatureSet]) -> list[FeatureSet]:
    return sorted(featuresets, key=lambda one: one.source.origin is not None)


def _records(judged: Judged, values: Sequence[bytes], places: Sequence[int], first_index: int) -> list[Record]:
    return [
        Record(first_index + places[position], key.encode(), values[places[position]])
        for position, key in zip(judged.positions, judged.keys, strict=True)
    ]


def _by_topic(featuresets: Sequence[FeatureSet]) -> dict[str, list[FeatureSet]]:
    found: dict[str, list[FeatureSet]] = {}
    for featureset in featuresets:
        found.setdefault(featureset.source.intake, []).append(featureset)
    return found


def _fitting(group: Sequence[FeatureSet], refused: dict[str, str]) -> Destination:
    """A topic with those of its FeatureSets that can share it with those before them."""
    fitting: list[FeatureSet] = []
    for one in group:
        try:
            for other in fitting:
                _check_shared(other, one)
        except ConfigurationError as error:
            refused[one.name] = str(error)
        else:
            fitting.append(one)
    return Destination(fitting)


def _check_shared(first: FeatureSet, other: FeatureSet) -> None:
    """Raises ConfigurationError if two FeatureSets want the records of one topic in different ways."""
    if first.source.topic != other.source.topic:
        return  # one of them re-keys what the other reads, or they do so by different entities
    mine = (first.definition.key, first.source.partitioner)
    if (other.definition.key, other.source.partitioner) != mine:
        raise ConfigurationError(
            f"topic {first.source.topic}: its records are keyed by {mine[0]} ({mine[1]}) for FeatureSet {first.name}, "
            f"but {other.name} wants {other.definition.key} ({other.source.partitioner}); one of them needs "
            "another topic"
        )


class Destinations:
    """All topics that events can be sent to; never changes."""

    def __init__(self, all: Sequence[Destination]) -> None:
        self.all = list(all)

    @classmethod
    def of(cls, featuresets: Sequence[FeatureSet]) -> Destinations:
        """The topics of these FeatureSets. Raises ConfigurationError if there are none or they cannot share them."""
        if not featuresets:
            raise ConfigurationError("FRESHET_MANIFESTS: there is no FeatureSet in it, so no topic to send events to")
        return cls([Destination(group) for group in _by_topic(featuresets).values()])

    def then(self, featuresets: Sequence[FeatureSet]) -> tuple[Destinations, dict[str, str]]:
        """The topics of other FeatureSets, and why some of these are left out (by name); there may be none.

        What did not change stays the same object. Where two cannot share a topic, the one that was there before stays.
        """
        before = {one.topic: one for one in self.all}
        refused: dict[str, str] = {}
        found = []
        for topic, group in _by_topic(featuresets).items():
            old = before.get(topic)
            if old is not None and old.made_of == tuple(group):
                found.append(old)
                continue
            names = old.featuresets if old is not None else []
            found.append(_fitting(sorted(group, key=lambda one: one.name not in names), refused))
        return Destinations(found), refused

    def choose(self, query: Mapping[str, str]) -> Destination:
        """The topic that a request means by topic, featureset or entity, or the only one. Raises Problem."""
        if not self.all:
            raise unavailable("no_featuresets", "no FeatureSet is applied yet; send the events again when one is")
        if not query and len(self.all) == 1:
            return self.all[0]
        strange = sorted(set(query) - {"topic", "featureset", "entity"})
        if strange:
            message = f"unknown query parameter {strange[0][:80]}; there are topic, featureset and entity"
            raise Problem(400, "unknown_parameter", message)
        found = self.all
        if "topic" in query:
            found = self._named("topic", query["topic"], {one.topic: [one] for one in found})
        if "featureset" in query:
            names = {name: [one] for one in found for name in one.featuresets}
            found = self._named("FeatureSet", query["featureset"], names)
        if "entity" in query:
            kinds = {kind for one in found for kind in one.entities}
            groups = {kind: [one for one in found if kind in one.entities] for kind in kinds}
            found = self._named("entity", query["entity"], groups)
        if len(found) > 1:
            topics = ", ".join(one.topic for one in found)
            raise Problem(
                400, "ambiguous_topic", f"there are the topics {topics}: say which one, as ?topic={found[0].topic}"
            )
        return found[0]

    @staticmethod
    def _named(what: str, given: str, known: Mapping[str, list[Destination]]) -> list[Destination]:
        if given not in known:
            raise unknown(what, given, known)
        return known[given]
