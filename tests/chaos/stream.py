"""The events of a round: the same seed gives the same users, cards, kinds, amounts, delays, repeats and mistakes."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

USERS = 250
"""And as many cards; whose a card is means nothing, so that a card's events come from all partitions of the topic."""
_WATCHED = 30
"""The busiest, of which nobody is forgotten."""
_RECENT = 300
"""A repeat is of one of so many events before it."""


def events(seed: int, now_ms: Callable[[], int]) -> Iterator[dict[str, Any]]:
    """Endless. About 5 % come twice, a third late (some by days), 1 % are such that one FeatureSet must refuse them."""
    rng = random.Random(seed)
    recent: list[dict[str, Any]] = []
    number = 0
    while True:
        if recent and rng.random() < 0.05:
            yield rng.choice(recent)
            continue
        number += 1
        event = _event(rng, f"e{seed}-{number}", now_ms())
        recent = [*recent[1 - _RECENT :], event]
        yield event


def _event(rng: random.Random, event_id: str, now_ms: int) -> dict[str, Any]:
    some_late = [rng.randrange(5_000), rng.randrange(3_600_000), rng.randrange(10 * 86_400_000)]
    late = rng.choice([0, 0, 0, 0, 0, 0, *some_late])
    kind = rng.choice(["view", "view", "purchase"])
    event: dict[str, Any] = {
        "event_id": event_id,
        "user_id": f"user_{int(rng.paretovariate(0.9)) % USERS}",
        "timestamp": now_ms - late,
        "kind": kind,
        "amount": round(rng.lognormvariate(2, 1), 2) if kind == "purchase" or rng.random() < 0.3 else None,
        **_card(rng),
    }
    if rng.random() < 0.01:
        event |= rng.choice([{"kind": None}, {"kind": 7}, {"amount": "much"}, {"amount": -1.0}])
    return event


def _card(rng: random.Random) -> dict[str, Any]:
    """Some events have no card, some have what can be none, and some cards are numbers."""
    draw = rng.random()
    if draw < 0.12:
        return {} if draw < 0.1 else {"card_id": rng.choice([None, True, 1.5, "", ["x"]])}
    number = int(rng.paretovariate(0.9)) % USERS
    return {"card_id": number if number % 10 == 9 else f"card_{number}"}


def erased(rng: random.Random, entity: str) -> str:
    """A user or a card to be forgotten."""
    return f"{entity}_{rng.randrange(_WATCHED, USERS)}"


def poison(rng: random.Random) -> bytes:
    """What ingest would never let through and a foreign producer may write."""
    return rng.choice([b"{broken", b"[1, 2]", b"", b"\xff\xfe", b"null", b'{"user_id": "user_1"}', b'{"user_id": ""}'])
