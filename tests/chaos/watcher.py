"""Reads features while faults happen: an answer may be missing or old, never a default as if it were true."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from freshet.dev.http import NOT_ANSWERED, Answer, Connection
from tests.chaos.subject import Subject

_PAUSE_SECONDS = 0.05
_BUSIEST = 20


class Default(NamedTuple):
    """An answer as if an entity had no events, given although it was seen with some."""

    featureset: str
    entity: str
    at: str
    """UTC."""
    offset: int
    """Of its partition's progress, right afterwards: true if the entity's first event is not below it, since then the
    store has forgotten its last moments and the processor is not there again."""
    body: bytes


class Watcher(threading.Thread):
    """Asks for the busiest entities in turn until `finish`."""

    def __init__(self, url: Callable[[], str], subjects: Sequence[Subject]) -> None:
        super().__init__(name="watcher", daemon=True)
        self.answers: Counter[str] = Counter()
        """By status, or what went wrong instead."""
        self.wrong: list[str] = []
        """Answers that no client can understand, or that must never be given."""
        self.defaults: list[Default] = []
        self._url = url
        turns = [(subject, number) for number in range(1, _BUSIEST + 1) for subject in subjects]
        self._asked = [(subject, f"{subject.definition.entity}_{number}") for subject, number in turns]
        self._seen: set[tuple[str, str]] = set()
        self._halt = threading.Event()

    def run(self) -> None:
        """Until told to stop."""
        connection = Connection(self._url(), 10)
        for subject, entity in itertools.cycle(self._asked):
            if self._halt.wait(_PAUSE_SECONDS):
                break
            try:
                answer = connection.get(f"/features/{entity}/ever?featureset={subject.name}")
            except NOT_ANSWERED as error:
                self.answers[type(error).__name__] += 1
                continue
            self.answers[str(answer.status)] += 1
            try:
                self._judge(subject, entity, answer)
            except (ValueError, KeyError):
                self.wrong.append(f"{entity}: no answer to understand: {answer.body[:300]!r}")
        connection.close()

    def finish(self) -> None:
        """Stops."""
        self._halt.set()
        self.join()

    def _judge(self, subject: Subject, entity: str, answer: Answer) -> None:
        if answer.status != 200:
            if answer.status != 503:
                self.wrong.append(f"{entity}: answered {answer.status}: {answer.body[:200]!r}")
            return
        document = json.loads(answer.body)
        if document["value"]:
            self._seen.add((subject.name, entity))
        elif (subject.name, entity) in self._seen and not document.get("stale"):
            offset = subject.offset_of(entity)
            if offset is not None:
                at = time.strftime("%H:%M:%S", time.gmtime())
                self.defaults.append(Default(subject.name, entity, at, offset, answer.body[:300]))
