"""Doing what a plan says, in its order. Every write may be repeated, so a crash between two of them does no harm."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

from confluent_kafka import KafkaError, KafkaException

from freshet_operator import metrics
from freshet_operator.api.client import Client
from freshet_operator.api.errors import ApiError
from freshet_operator.api.kinds import kind_of
from freshet_operator.crash import WriteCounter
from freshet_operator.model import Object, Write
from freshet_operator.names import FINALIZER
from freshet_operator.observe.kafka import Kafka

_log = logging.getLogger(__name__)


class NotLeading(Exception):
    """This replica may not write any more."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A write that was refused."""

    write: Write
    message: str
    transient: bool


@dataclass(slots=True)
class Done:
    """How far a plan was carried out."""

    writes: int = 0
    kafka_failures: list[Failed] = field(default_factory=list)
    """Kafka's refusals; the writes after them were done all the same."""
    failure: Failed | None = None
    """The API server's refusal; the writes after it were not done."""
    error: ApiError | None = None
    """The same as it came."""


class Applier:
    """Writes to the API server and to Kafka, as long as this replica leads."""

    def __init__(self, client: Client, kafka: Kafka, may_write: Callable[[], bool], counter: WriteCounter) -> None:
        self._client = client
        self._kafka = kafka
        self._may_write = may_write
        self._counter = counter

    async def apply(self, resource: Object, writes: tuple[Write, ...]) -> Done:
        """Does the writes. Raises NotLeading."""
        done = Done()
        for write in writes:
            if write.verb == "remove-finalizer" and done.kafka_failures:
                break  # what could not be deleted is tried again
            try:
                await self.write(write.verb, write.what, partial(self._do, resource, write))
                done.writes += 1
            except KafkaException as error:
                said = error.args[0]
                passes = said.retriable() or said.code() == KafkaError.NON_EMPTY_GROUP  # dead members leave in seconds
                done.kafka_failures.append(Failed(write, f"{write.what}: {said.name()}: {said.str()}", passes))
            except ApiError as error:
                done.failure = Failed(write, f"{write.verb} {write.what}: {error}", error.transient)
                done.error = error
                return done
        return done

    async def status(self, resource: Object, status: Object) -> None:
        """Writes the whole status of exactly this resource (its uid). Raises ApiError, NotLeading."""
        meta = resource["metadata"]
        item = {
            "apiVersion": resource["apiVersion"],
            "kind": resource["kind"],
            "metadata": {"namespace": meta["namespace"], "name": meta["name"], "uid": meta["uid"]},
            "status": status,
        }
        await self.write("status", f"{resource['kind']} {meta['name']}", lambda: self._client.apply(item, "status"))

    async def write(self, verb: str, what: str, call: Callable[[], Awaitable[object]]) -> None:
        """One write of any sort, by the holder of the lease only. Raises what `call` raises, NotLeading."""
        if not self._may_write():
            raise NotLeading(f"{verb} {what}")
        number = self._counter.before()
        await call()
        self._counter.after(number)
        metrics.WRITES.labels(verb, what.partition(" ")[0]).inc()
        _log.info("%s %s", verb, what)

    async def _do(self, resource: Object, write: Write) -> None:
        match write.verb:
            case "apply":
                assert write.object is not None
                await self._client.apply(write.object)
            case "delete":
                assert write.object is not None
                await self._client.delete(write.object)
            case "create-topic":
                assert write.topic is not None
                await self._kafka.create_topic(write.topic)
            case "delete-topic":
                await self._kafka.delete_topic(write.name)
            case "delete-group":
                await self._kafka.delete_group(write.name)
            case "add-finalizer":
                await self._finalizers(resource, lambda names: [*names, FINALIZER])
            case "remove-finalizer":
                await self._finalizers(resource, lambda names: [name for name in names if name != FINALIZER])

    async def _finalizers(self, resource: Object, change: Callable[[list[str]], list[str]]) -> None:
        """The resourceVersion keeps this from undoing what somebody else does to the list meanwhile (409)."""
        meta = resource["metadata"]
        names = change(list(meta.get("finalizers") or ()))
        patch = {"metadata": {"finalizers": names, "resourceVersion": meta["resourceVersion"]}}
        await self._client.merge(kind_of(resource), meta["namespace"], meta["name"], patch)
