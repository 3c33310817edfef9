"""POST /ingest: a body in, an answer out, 202 only for what the broker has acknowledged."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec
from confluent_kafka import KafkaError

from freshet.engine.decode import Reason, Rejected
from freshet.ingest.broker import Broker
from freshet.ingest.deliveries import Deliveries
from freshet.ingest.delivery import Delivery, NoRoom, Shipment
from freshet.ingest.destinations import Destination, Destinations, Sorted
from freshet.ingest.problems import Problem, busy, unavailable
from freshet.ingest.split import split
from freshet.runtime import metrics

_CHUNK = 1000
"""Events that are judged and sent before other requests get their turn."""
_UNREADABLE = frozenset({Reason.NOT_JSON, Reason.BAD_UTF8, Reason.EMPTY, Reason.TOO_DEEP})
_TOO_LARGE = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE})
_encode = msgspec.json.Encoder().encode


class Intake:
    """Takes the events of requests."""

    def __init__(
        self,
        destinations: Destinations,
        deliveries: Deliveries,
        broker: Broker,
        acknowledge_timeout_ms: int,
    ) -> None:
        self.destinations = destinations
        """May be replaced at any time and from any thread: a request reads it once."""
        self._deliveries = deliveries
        self._broker = broker
        # The client library gives its verdict at this time, and looks at its clock once a second.
        self._patience = acknowledge_timeout_ms / 1000 + 1.5

    def choose(self, query: Mapping[str, str]) -> Destination:
        """The topic that a request means. Raises Problem (400, 404; 503 while Kafka cannot take events)."""
        destination = self.destinations.choose(query)
        if self._broker.problem is not None:
            raise unavailable(
                "kafka_unavailable", f"events cannot be taken now: {self._broker.problem}; send them again"
            )
        if destination.topic not in self._broker.topics:
            sentence = f"there is no topic {destination.topic} yet; send the events again in a moment"
            raise unavailable("kafka_unavailable", sentence)
        return destination

    async def take(self, destination: Destination, body: bytes, lines: bool) -> tuple[int, bytes]:
        """Status and answer for the events of a body. Raises Problem if none of them could be taken for another reason
        than the events themselves."""
        events = split(body, lines)
        delivery = self._deliveries.get(destination.partitioner)
        outcome = Sorted([], [], [])
        for start in range(0, len(events), _CHUNK):
            part = destination.sort(events[start : start + _CHUNK], start, time.time_ns() // 1_000_000)
            outcome.accepted += part.accepted
            outcome.rejected += part.rejected
            outcome.event_ids += part.event_ids
            if len(events) > _CHUNK:
                await asyncio.sleep(0)
        if outcome.accepted:
            await self._ship(destination, delivery, outcome)
        metrics.EVENTS_ACCEPTED.labels(destination.topic).inc(len(outcome.accepted))
        for reason, count in Counter(one.reason for one in outcome.rejected).items():
            metrics.EVENTS_REFUSED.labels(reason.value).inc(count)
        return answer(outcome)

    async def _ship(self, destination: Destination, delivery: Delivery, outcome: Sorted) -> None:
        records = outcome.accepted
        try:
            shipment = delivery.begin(len(records), sum(len(one.key) + len(one.value) for one in records))
        except NoRoom:
            raise busy("events wait for Kafka up to the memory given to them; none of these was taken") from None
        for start in range(0, len(records), _CHUNK):
            delivery.send(shipment, destination.topic, records[start : start + _CHUNK])
            if len(records) > _CHUNK:
                await asyncio.sleep(0)
        try:
            async with asyncio.timeout(self._patience):
                await asyncio.shield(shipment.done)
        except TimeoutError:
            raise _not_acknowledged("Kafka did not answer in time", 0, outcome) from None
        if shipment.failed:
            _judge_failures(shipment, outcome)


def _judge_failures(shipment: Shipment, outcome: Sorted) -> None:
    """Records that the broker finds too large are the sender's to change; all else is for a second try."""
    failed = dict(shipment.failed)
    others = [error for error in failed.values() if error.code() not in _TOO_LARGE]
    if others:
        raise _not_acknowledged(others[0].str(), len(outcome.accepted) - len(failed), outcome)
    outcome.accepted = [one for one in outcome.accepted if one.index not in failed]
    sentence = "the broker's limit for a record is below the size of this event; make the event smaller"
    outcome.rejected += [Rejected(index, Reason.TOO_LARGE, sentence) for index in failed]
    outcome.rejected.sort(key=lambda one: one.index)
    for index in failed:
        outcome.event_ids[index] = None


def _not_acknowledged(why: str, acknowledged: int, outcome: Sorted) -> Problem:
    message = (
        f"Kafka did not acknowledge the events: {why}; some may have been taken. Send the whole request again, with "
        "the event_ids given here where you sent none: what comes twice under one id counts once"
    )
    return unavailable("not_acknowledged", message, acknowledged=acknowledged, event_ids=outcome.event_ids)


def answer(outcome: Sorted) -> tuple[int, bytes]:
    """202 if an event was taken, else 400 (not readable), 413 (too large) or 422; refused ones by their index."""
    rejected = [_entry(one) for one in outcome.rejected]
    result: dict[str, Any] = {"accepted": len(outcome.accepted), "rejected": rejected, "event_ids": outcome.event_ids}
    if outcome.accepted:
        return 202, _encode(result)
    first = outcome.rejected[0]
    reasons = {one.reason for one in outcome.rejected}
    status = 413 if reasons == {Reason.TOO_LARGE} else 400 if reasons <= _UNREADABLE else 422
    where = f"event {first.index}: " if len(rejected) > 1 else ""
    return status, _encode({"error": {"code": first.reason.value, "message": where + first.sentence}, **result})


def _entry(one: Rejected) -> dict[str, Any]:
    entry: dict[str, Any] = {"index": one.index, "reason": one.reason.value, "message": one.sentence}
    if one.field is not None:
        entry["field"] = one.field
    return entry
