"""Reads features while faults happen: an answer may be missing or old, never a default as if it were true."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable

from freshet.dev.http import NOT_ANSWERED, Answer, Connection

_PAUSE_SECONDS = 0.05
_SETTLED_SECONDS = 15.0
"""A store may forget its last seconds: an entity that was there for so long must not seem unknown afterwards."""
_USERS = 20


class Watcher(threading.Thread):
    """Asks for the busiest users in turn until `finish`."""

    def __init__(self, url: Callable[[], str]) -> None:
        super().__init__(name="watcher", daemon=True)
        self.answers: Counter[str] = Counter()
        """By status, or what went wrong instead."""
        self.untrue: list[str] = []
        """Defaults of entities that have events, given as if they were true."""
        self._url = url
        self._seen: dict[str, float] = {}
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
                self.untrue.append(f"{user}: no answer to understand: {answer.body[:300]!r}")
        connection.close()

    def finish(self) -> None:
        """Stops."""
        self._halt.set()
        self.join()

    def _judge(self, user: str, answer: Answer) -> None:
        if answer.status != 200:
            if answer.status != 503:
                self.untrue.append(f"{user}: answered {answer.status}: {answer.body[:200]!r}")
            return
        document = json.loads(answer.body)
        now = time.time()
        if document["value"]:
            self._seen.setdefault(user, now)
        elif user in self._seen and now - self._seen[user] > _SETTLED_SECONDS and not document.get("stale"):
            at = time.strftime("%H:%M:%S", time.gmtime(now))
            self.untrue.append(f"{user}: a default as if it were true at {at} UTC: {answer.body[:300]!r}")
