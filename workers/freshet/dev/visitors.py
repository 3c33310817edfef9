"""The demo's traffic: a week of history as fast as it goes, then events as they happen, from a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile

from freshet.dev.commands import numbered
from freshet.dev.errors import CommandFailed
from freshet.dev.pace import at_full_speed, on_time
from freshet.dev.sender import Row, Sender, Summary
from freshet.dev.simulate import Traffic

_WEEK_SECONDS = 7 * 86_400.0
_HISTORY_EVENTS = 20_000


@dataclass(frozen=True, slots=True)
class Crowd:
    """How many there are and what they do."""

    users: int = 500
    rate: float = 200.0
    """Events a second."""
    seed: int = 1


class Visitors:
    """Sends until `stop`."""

    def __init__(self, url: str, crowd: Crowd) -> None:
        self._crowd = crowd
        self._sender = Sender(url)
        self._stop = threading.Event()
        self._problem: CommandFailed | None = None
        self._thread = threading.Thread(target=self._run, name="visitors", daemon=True)
        self.live = threading.Event()
        """Set when the history is sent."""

    @property
    def summary(self) -> Summary:
        """What ingest has answered so far."""
        return self._sender.summary

    def start(self) -> None:
        """Begins to send."""
        self._thread.start()

    def check(self) -> None:
        """Raises CommandFailed where the traffic broke off."""
        if self._problem is not None:
            raise self._problem

    def stop(self) -> Summary:
        """Ends the traffic and waits until all of it is answered. Raises CommandFailed where it broke off."""
        self._stop.set()
        self._thread.join()
        self._sender.close()
        self.check()
        return self.summary

    def abandon(self) -> None:
        """Ends without waiting for answers."""
        self._stop.set()
        self._sender.close()

    def _run(self) -> None:
        crowd, now = self._crowd, time.time()
        history = Traffic(crowd.users, _HISTORY_EVENTS / _WEEK_SECONDS, crowd.seed, late=0.0, start=now - _WEEK_SECONDS)
        week = takewhile(lambda sent: sent.at < _WEEK_SECONDS and not self._stop.is_set(), history.events())
        try:
            self._sender.send(at_full_speed(row for _, row in numbered(week)))
            self.live.set()
            self._sender.send(on_time(self._happening()))
        except CommandFailed as problem:
            self._problem = problem

    def _happening(self) -> Iterator[tuple[float, Row]]:
        traffic = Traffic(self._crowd.users, self._crowd.rate, self._crowd.seed, start=time.time())
        for sent, row in numbered(traffic.events()):
            if self._stop.is_set():
                return
            yield sent.at, row
