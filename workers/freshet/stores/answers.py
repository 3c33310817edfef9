"""Waiting for what Kafka answers, which has an end."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
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
        raise unanswered(f"no answer within {timeout_seconds + _GRACE_SECONDS:.3g} s") from None


def started(call: Callable[[], T]) -> Future[T]:
    """Makes a call that does not keep to the time it is given, where it holds nobody up, not even the process's end."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except Exception as error:
            future.set_exception(error)

    Thread(target=run, name="call", daemon=True).start()
    return future


def unanswered(sentence: str) -> KafkaException:
    """The exception for a wait that was ended here, as the client's own for one that it has ended."""
    return KafkaException(KafkaError(KafkaError._TIMED_OUT, sentence))  # noqa: SLF001  # the client's public name for it
