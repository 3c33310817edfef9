"""Realistic traffic of a shop: users come in sessions, look around, put things into the cart and sometimes buy.

The same seed and start give the same events, byte by byte. Some events come late and some come twice, as they do from
phones that lose the network.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any, NamedTuple

_CITIES = ("Berlin", "Lagos", "London", "Lima", "Mumbai", "New York", "Osaka", "Paris", "São Paulo", "Zürich")
_DEVICES = ("mobile", "desktop", "tablet")
_DEVICE_WEIGHTS = (60, 30, 10)
_STEPS = ("page_view", "search", "add_to_cart", "purchase")
_STEP_WEIGHTS = {
    "login": (70, 25, 4, 1),
    "page_view": (58, 20, 18, 4),
    "search": (75, 15, 9, 1),
    "add_to_cart": (40, 12, 20, 28),
    "purchase": (70, 20, 8, 2),
}
_SESSION_EVENTS = 12.0
"""Mean length of a session, in events."""
_PAUSE_SECONDS = 25.0
"""Mean time between two events of a session."""
_LATE_SECONDS = 240.0
"""Mean delay of a late event; some come hours late."""
_REPEAT_EVENTS = 20
"""A duplicate follows within so many events."""


class Sent(NamedTuple):
    """One event and the moment it is sent."""

    at: float
    """Seconds since the start of the traffic."""
    event: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Traffic:
    """What to simulate."""

    users: int = 1000
    rate: float = 100.0
    """Events a second."""
    seed: int = 1
    late: float = 0.02
    """Share of events that are sent minutes or hours after they happened."""
    duplicates: float = 0.01
    """Share of events that are sent twice."""
    start: float = 0.0
    """Seconds since 1970 of the first event."""

    def events(self) -> Iterator[Sent]:
        """Endless, in the order of sending."""
        return _Shop(self).run()


@dataclass(frozen=True, slots=True)
class _Session:
    user: str
    device: str
    city: str
    last: str
    left: int


class _Shop:
    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic
        self._random = random.Random(traffic.seed)  # noqa: S311 - traffic is no secret
        self._sessions: list[_Session] = []
        self._number = 0
        # A few users do most of what happens, as in any shop.
        self._weights = list(accumulate(1 / (rank + 5) ** 0.8 for rank in range(traffic.users)))
        self._homes = [self._random.choice(_CITIES) for _ in range(traffic.users)]

    def run(self) -> Iterator[Sent]:
        at = 0.0
        repeats: list[tuple[int, dict[str, Any]]] = []
        while True:
            at += self._random.expovariate(self._traffic.rate)
            if repeats and repeats[0][0] <= self._number:
                yield Sent(at, repeats.pop(0)[1])
                continue
            event = self._event(at)
            if self._random.random() < self._traffic.duplicates:
                repeats.append((self._number + self._random.randint(1, _REPEAT_EVENTS), event))
                repeats.sort(key=lambda repeat: repeat[0])
            yield Sent(at, event)

    def _event(self, at: float) -> dict[str, Any]:
        self._number += 1
        session, kind = self._step()
        happened = self._traffic.start + at
        if self._random.random() < self._traffic.late:
            happened -= self._random.expovariate(1 / _LATE_SECONDS) * self._random.choice((1, 1, 1, 30))
        event: dict[str, Any] = {
            "event_id": f"{self._traffic.seed}-{int(self._traffic.start)}-{self._number}",
            "user_id": session.user,
            "event_type": kind,
            "device_type": session.device,
            "geo": {"city": session.city},
            "timestamp": rfc3339(happened),
        }
        if kind == "purchase":
            event["amount"] = round(min(2000.0, self._random.lognormvariate(3.6, 0.8)), 2)
        return event

    def _step(self) -> tuple[_Session, str]:
        """The next thing that somebody does."""
        sessions = self._sessions
        # Below the usual number of visitors more come than leave, above it fewer.
        crowded = len(sessions) >= self._traffic.rate * _PAUSE_SECONDS
        if not sessions or self._random.random() < (0.9 / _SESSION_EVENTS if crowded else 0.25):
            session = self._visit()
            sessions.append(session)
            return session, "login"
        at = self._random.randrange(len(sessions))
        session = sessions[at]
        (kind,) = self._random.choices(_STEPS, _STEP_WEIGHTS[session.last])
        if session.left <= 1:
            sessions[at] = sessions[-1]
            sessions.pop()
        else:
            sessions[at] = replace(session, last=kind, left=session.left - 1)
        return session, kind

    def _visit(self) -> _Session:
        (user,) = self._random.choices(range(self._traffic.users), cum_weights=self._weights)
        (device,) = self._random.choices(_DEVICES, _DEVICE_WEIGHTS)
        city = self._homes[user] if self._random.random() < 0.95 else self._random.choice(_CITIES)
        left = 1 + int(self._random.expovariate(1 / _SESSION_EVENTS))
        return _Session(user_name(user), device, city, "login", left)


def user_name(number: int) -> str:
    """The key of user number 0, 1, …; the first ones are the busiest."""
    return f"user_{number:04d}"


def rfc3339(seconds: float) -> str:
    """A moment in UTC with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
