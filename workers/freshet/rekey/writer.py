"""Copies and offsets in one transaction: a producer that is replaced when it can go on no more.

Whatever goes wrong, the producer is given up. The next one of the same transactional id ends what it left open, one way
or the other; the caller then reads the committed offsets and goes on from there. Nothing is remembered over it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from freshet.engine.control import Headers
from freshet.runtime.settings import KafkaSettings
from freshet.runtime.shutdown import Deadline
from freshet.stores import kafka
from freshet.stores.answers import answer, started

log = logging.getLogger(__name__)

_TRANSACTION_MS = 10_000
"""Kafka aborts a transaction that stays open for so long: its readers wait behind it."""
_CALL_SECONDS = 3.0
"""Longest wait for a step: peers wait for a hand-over, and Kafka for polls."""


Step = Callable[[float], object]
"""A call with a time-out in seconds."""


class Aborted(Exception):
    """Nothing of the transaction is written, or it is not known: the committed offsets say it."""


class Writer:
    """Writes into one topic."""

    def __init__(self, settings: KafkaSettings, topic: str, partitioner: str, transactional_id: str) -> None:
        """Raises ConfigurationError for Kafka settings that the client does not know."""
        self._topic = topic
        self.transactional_id = transactional_id
        self._new = partial(kafka.producer, settings, partitioner, delivery_timeout_ms=_TRANSACTION_MS)
        # Made at once: bad settings are told at the start, not in the loop.
        self._producer: Producer | None = self._new(transactional_id=transactional_id)
        self._ready = self._begun = False
        self._sent: Future[object] | None = None
        """What became of the offsets that this producer sent last."""
        self._given_up: list[tuple[Producer, Future[object] | None]] = []
        """Those that Kafka has yet to answer."""

    def open(self) -> None:
        """Makes a producer if there is none; it ends what one before it left open. Raises Aborted."""
        if self._ready:
            return
        self._end_given_up()
        producer = self._producer = self._producer or self._new(transactional_id=self.transactional_id)
        try:
            self._call(producer.init_transactions, Deadline(_CALL_SECONDS))
        except KafkaException as error:
            if not error.args[0].retriable():
                self.abort()
            raise Aborted(f"no transactions yet: {error.args[0].str()}") from error
        self._ready = True

    def fence(self, transactional_id: str) -> None:
        """Ends the transactions of another writer, which is gone or should be. Raises Aborted."""
        other = self._new(transactional_id=transactional_id)
        try:
            self._call(other.init_transactions, Deadline(_CALL_SECONDS))
        except KafkaException as error:
            raise Aborted(f"{transactional_id} was not fenced: {error.args[0].str()}") from error
        log.info("what another writer left open is ended", extra={"writer": transactional_id})

    def send(self, value: bytes | None, key: bytes | None, headers: Headers | None, partition: int) -> None:
        """Adds a copy to the transaction; `partition` -1: the key's. Raises Aborted."""
        producer = self._begin()
        more: dict[str, Any] = {"headers": headers} if headers else {}
        if partition >= 0:
            more["partition"] = partition
        deadline = None
        while True:
            try:
                producer.produce(self._topic, value, key, **more)
                return
            except BufferError:
                deadline = deadline or Deadline(_CALL_SECONDS)
                if not deadline.left():
                    raise self._failed("copies are not acknowledged", None) from None
                producer.poll(0.05)
            except KafkaException as error:
                raise self._failed("copies are not taken", error) from error

    def commit(self, offsets: Sequence[TopicPartition], consumer: Consumer) -> None:
        """Commits the copies with the offsets up to which the origin is copied. Raises Aborted."""
        producer = self._begin()
        deadline = Deadline(_CALL_SECONDS)
        places, group = list(offsets), consumer.consumer_group_metadata()

        def send_offsets(left: float) -> None:
            # While the group's coordinator is away the client waits for it, whatever it is given (seen with librdkafka
            # 2.16), and for ever if the coordinator moved meanwhile (its issues 5456 and 5511).
            self._sent = started(partial(producer.send_offsets_to_transaction, places, group, left))
            answer(self._sent, left)

        try:
            self._call(send_offsets, deadline)
            self._call(producer.commit_transaction, deadline)
        except KafkaException as error:
            raise self._failed("not committed", error) from error
        self._begun = False
        producer.poll(0)
        self._end_given_up()

    def close(self) -> None:
        """Gives up what was not committed, and waits a moment for what Kafka has yet to answer."""
        self.abort()
        deadline = Deadline(_CALL_SECONDS)
        while self._given_up and deadline.left():
            time.sleep(0.02)
            self._end_given_up()

    def abort(self) -> None:
        """Gives up what was not committed, and the producer with it: the next one of its name aborts for it, and knows
        nothing of a coordinator that was away, at which an old one may wait for ever (seen with librdkafka 2.16)."""
        if self._producer is not None:
            self._producer.purge(in_flight=False, blocking=False)
            self._given_up.append((self._producer, self._sent))
        self._producer, self._begun, self._ready, self._sent = None, False, False, None
        self._end_given_up()

    def _end_given_up(self) -> None:
        """Drops producers that were given up, each once nothing of it is under way.

        An answer that says that it is fenced frees a text that the client's end may have freed before: the process
        died of it, or stood still (librdkafka 2.16).
        """
        for one in list(self._given_up):
            producer, sent = one
            with suppress(KafkaException):  # why it was given up is told already
                producer.poll(0)
            if not len(producer) and (sent is None or sent.done()):
                self._given_up.remove(one)

    def _begin(self) -> Producer:
        if self._producer is None or not self._ready:
            raise Aborted("there is no producer now")
        if not self._begun:
            try:
                self._producer.begin_transaction()
            except KafkaException as error:
                raise self._failed("no transaction", error) from error
            self._begun = True
        return self._producer

    def _failed(self, what: str, error: KafkaException | None) -> Aborted:
        self.abort()
        return Aborted(what if error is None else f"{what}: {error.args[0].str()}")

    @staticmethod
    def _call(step: Step, deadline: Deadline) -> None:
        """A step of the transaction, repeated while Kafka says that it may be. Raises KafkaException."""
        while True:
            try:
                step(max(0.1, deadline.left()))
                return
            except KafkaException as error:
                if not error.args[0].retriable() or not deadline.left():
                    raise
                time.sleep(0.02)
