"""Waiting for what Kafka's administration answers, which has an end."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TypeVar

from confluent_kafka import KafkaError, KafkaException

_GRACE_SECONDS = 1.0

T = TypeVar("T")


def answer(future: Future[T], timeout_seconds: float) -> T:
    """What `future` brings; the client was given the same time, and is waited for a second longer.

    Nobody may wait for ever for a client, whatever became of its connections. One that has not answered is better
    replaced: it may go on so (seen with librdkafka 2.16). Raises KafkaException, also if there is no answer.
    """
    try:
        return future.result(timeout_seconds + _GRACE_SECONDS)
    except TimeoutError:
        sentence = f"no answer within {timeout_seconds + _GRACE_SECONDS:g} s"
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, sentence)) from None  # noqa: SLF001
