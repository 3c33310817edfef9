"""Reads features while faults happen: an answer may be missing or old, never a default as if it were true."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from freshet.dev.http import NOT_ANSWERED, Answer, Connection

_PAUSE_SECONDS = 0.05
_USERS = 20


class Default(NamedTuple):
    """An answer as if an entity had no events, given although it was seen with some."""

    user: str
    at: str
    """UTC."""
    offset: int
    """Of its partition's progress, right afterwards: true if the entity's first event is not below it, since then the
    store has forgotten its last moments and the processor is not there again."""
    body: bytes


class Watcher(threading.Thread):
    """Asks for the busiest users in turn until `finish`."""

    def __init__(self, url: Callable[[], str], offset: Callable[[str], int | None]) -> None:
        """`offset`: where progress of a user's partition is; None if the store does not tell."""
        super().__init__(name="watcher", daemon=True)
        self.answers: Counter[str] = Counter()
        """By status, or what went wrong instead."""
        self.wrong: list[str] = []
        """Answers that no client can understand, or that must never be given."""
        self.defaults: list[Default] = []
        self._url = url
        self._offset = offset
        self._seen: set[str] = set()
        self._halt = threading.Event()

    def run(self) -> None:
        """Until told to stop."""
        connection = Connection(self._url(), 10)
        number = 0
        while not self._halt.wait(_PAUSE_SECONDS):
            number = number % _USERS + 1
            user = f"user_{number}"
            try:
                answer = connection.get(f"/features/{user}/ever")
            except NOT_ANSWERED as error:
                self.answers[type(error).__name__] += 1
                continue
            self.answers[str(answer.status)] += 1
            try:
                self._judge(user, answer)
            except (ValueError, KeyError):
                self.wrong.append(f"{user}: no answer to understand: {answer.body[:300]!r}")
        connection.close()

    def finish(self) -> None:
        """Stops."""
        self._halt.set()
        self.join()

    def _judge(self, user: str, answer: Answer) -> None:
        if answer.status != 200:
            if answer.status != 503:
                self.wrong.append(f"{user}: answered {answer.status}: {answer.body[:200]!r}")
            return
        document = json.loads(answer.body)
        if document["value"]:
            self._seen.add(user)
        elif user in self._seen and not document.get("stale") and (offset := self._offset(user)) is not None:
            self.defaults.append(Default(user, time.strftime("%H:%M:%S", time.gmtime()), offset, answer.body[:300]))
