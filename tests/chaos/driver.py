"""Sends the stream through ingest, again and again until it is acknowledged, and remembers what became of each try."""

from __future__ import annotations

import itertools
import json
import queue
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from confluent_kafka import Producer

from freshet.dev.http import NOT_ANSWERED, Answer, Connection
from freshet.spec.headers import CONTROL, ERASE
from tests.chaos import stream

_TICK_SECONDS = 0.05
_SENDERS = 3
_ANSWER_SECONDS = 15.0
_PAUSE_SECONDS = 0.3
_POISON = 0.01
"""Share of requests that are followed by a poisonous record of a foreign producer."""
_ERASURES = 0.01
"""The same for a record that erases a user or a card."""


class Outcome(Enum):
    """What is known of one event of one try."""

    ACKNOWLEDGED = "acknowledged"
    """Must be in the log exactly once."""
    DOUBTFUL = "doubtful"
    """No answer, or one that says so: in the log or not; rarely twice, since the client library may send again."""
    REFUSED = "refused"
    """Must not be in the log."""


@dataclass
class Account:
    """Tries by number: each record of the log names the one that brought it."""

    outcomes: dict[int, Outcome] = field(default_factory=dict)
    event_ids: dict[int, list[str]] = field(default_factory=dict)
    poison: list[bytes] = field(default_factory=list)
    """Acknowledged poisonous records."""
    answers: Counter[str] = field(default_factory=Counter)
    """By status, or what went wrong instead."""

    def count(self, outcome: Outcome) -> int:
        """Events of tries that ended so."""
        return sum(len(self.event_ids[n]) for n, found in self.outcomes.items() if found is outcome)


class Driver:
    """Sends at a rate from `start` until `finish`."""

    def __init__(
        self,
        urls: Callable[[], list[str]],
        rate: float,
        seed: int,
        foreign: Producer,
        topics: Sequence[tuple[str, str]],
    ) -> None:
        """`urls`: of the ingest services at the moment. `foreign`: writes what ingest would never let through.

        `topics`: those that may be told to forget, with the entity of each; the first also gets broken records.
        """
        self.account = Account()
        self.sent = 0
        """Events handed over, each counted once, however often it is tried."""
        self._urls = urls
        self._rate = rate
        self._producer, self._topics = foreign, topics
        self._events = stream.events(seed, lambda: time.time_ns() // 1_000_000)
        self._rng = random.Random(seed + 1)
        self._numbers = itertools.count()
        self._waiting: queue.Queue[list[dict[str, Any]] | None] = queue.Queue()
        self._halt = threading.Event()
        self._lock = threading.Lock()
        self._source = threading.Thread(target=self._emit, name="stream", daemon=True)
        self._senders = [threading.Thread(target=self._guarded, args=(i,), daemon=True) for i in range(_SENDERS)]
        self._problem: BaseException | None = None

    def start(self) -> None:
        """Begins."""
        for thread in (self._source, *self._senders):
            thread.start()

    def finish(self, seconds: float) -> None:
        """No more events; returns when all are acknowledged. Raises AssertionError if that takes longer."""
        deadline = time.monotonic() + seconds
        self._halt.set()
        self._source.join()
        for _ in self._senders:
            self._waiting.put(None)
        for thread in self._senders:
            thread.join(max(0.0, deadline - time.monotonic()))
            assert not thread.is_alive(), f"ingest does not take the events: {dict(self.account.answers)}"
        if self._problem is not None:
            raise self._problem
        left = self._producer.flush(max(0.1, deadline - time.monotonic()))
        assert not left, f"{left} records of the foreign producer were not acknowledged"

    def _emit(self) -> None:
        begin = time.monotonic()
        while not self._halt.is_set():
            due = int((time.monotonic() - begin) * self._rate) - self.sent
            if due > 0:
                self._waiting.put(list(itertools.islice(self._events, min(due, 200))))
                self.sent += min(due, 200)
                self._poison()
            self._halt.wait(_TICK_SECONDS)

    def _poison(self) -> None:
        if self._rng.random() < _ERASURES:
            headers: list[tuple[str, str | bytes | None]] = [(CONTROL, ERASE)]
            topic, entity = self._rng.choice(self._topics)
            self._producer.produce(topic, key=stream.erased(self._rng, entity), headers=headers, on_delivery=_sent)
        if self._rng.random() < _POISON:
            value, key = stream.poison(self._rng), self._rng.choice([None, f"k{self._rng.random()}"])
            self._producer.produce(self._topics[0][0], key=key, value=value, on_delivery=self._delivered)
        self._producer.poll(0)

    def _delivered(self, error: Any, message: Any) -> None:
        _sent(error, message)
        self.account.poison.append(message.value() or b"")

    def _guarded(self, index: int) -> None:
        try:
            self._send(index)
        except BaseException as error:
            self._problem = error

    def _send(self, index: int) -> None:
        """One sender: its requests go to one service after the other until one has acknowledged them."""
        connections: dict[str, Connection] = {}
        turn: Iterator[int] = itertools.count(index)
        while (events := self._waiting.get()) is not None:
            while True:
                urls = self._urls()
                url = urls[next(turn) % len(urls)]
                connection = connections.setdefault(url, Connection(url, _ANSWER_SECONDS))
                if self._try(connection, events):
                    break
                time.sleep(_PAUSE_SECONDS)
        for connection in connections.values():
            connection.close()

    def _try(self, connection: Connection, events: list[dict[str, Any]]) -> bool:
        """Whether that was the last try of these events."""
        with self._lock:
            number = next(self._numbers)
            self.account.event_ids[number] = [event["event_id"] for event in events]
            self.account.outcomes[number] = Outcome.DOUBTFUL
        body = b"\n".join(json.dumps({**event, "try": number}).encode() for event in events)
        try:
            answer = connection.call("POST", "/ingest", body, "application/x-ndjson")
        except NOT_ANSWERED as error:
            self._note(number, Outcome.DOUBTFUL, type(error).__name__)
            return False
        outcome = judge(answer)
        self._note(number, outcome, str(answer.status))
        return outcome is Outcome.ACKNOWLEDGED

    def _note(self, number: int, outcome: Outcome, what: str) -> None:
        with self._lock:
            self.account.outcomes[number] = outcome
            self.account.answers[what] += 1


def _sent(error: Any, _message: Any) -> None:
    assert error is None, f"the foreign producer failed: {error}"


def judge(answer: Answer) -> Outcome:
    """What an answer promises of the events. Raises AssertionError for one that this stream must never get."""
    document = answer.json()
    if answer.status == 202:
        assert not document["rejected"], f"ingest refused what a FeatureSet accepts: {document['rejected'][:3]}"
        return Outcome.ACKNOWLEDGED
    if answer.status == 429 or (answer.status == 503 and document["error"]["code"] == "kafka_unavailable"):
        return Outcome.REFUSED
    assert answer.status == 503, f"ingest answered {answer.status}: {document}"
    return Outcome.DOUBTFUL
