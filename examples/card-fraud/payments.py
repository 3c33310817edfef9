"""Payments of made-up people, some of them frauds, one JSON object a line: for `freshet send -`."""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Iterator
from typing import Any

COUNTRIES = ("DE", "FR", "PL", "ES", "US", "BR")


def payments(count: int, seed: int, now_ms: int, users: int = 60, days: float = 7.5) -> Iterator[dict[str, Any]]:
    """Payments of the last days in the order of their times; a few come late, and a few twice."""
    rng = random.Random(seed)
    last: list[dict[str, Any]] = []
    for number in range(count):
        moment = now_ms - int((count - number) / count * days * 86_400_000)
        event = _stolen(rng, users) if rng.random() < 0.08 else _usual(rng, users)
        late = rng.randrange(3_600_000) if rng.random() < 0.05 else 0
        event = {"event_id": f"p{seed}-{number}", "event_type": "payment", "timestamp": moment - late, **event}
        yield event
        last = [*last[-20:], event]
        if rng.random() < 0.02:
            yield rng.choice(last)


def _usual(rng: random.Random, users: int) -> dict[str, Any]:
    """A person pays with one of two cards, at a till (which has no device) or with a phone; or without a card."""
    user = int(rng.paretovariate(0.8)) % users
    event = {
        "user_id": f"user_{user}",
        "card_id": f"card_{user}_{int(rng.random() < 0.2)}",
        "device_id": f"phone_{user}",
        "amount": round(rng.lognormvariate(3, 0.8), 2),
        "country": COUNTRIES[user % 3] if rng.random() < 0.97 else rng.choice(COUNTRIES),
        "merchant": f"shop_{int(rng.paretovariate(0.6)) % 200}",
        "approved": rng.random() < 0.97,
    }
    if rng.random() < 0.3:
        event["device_id"] = None
    elif rng.random() < 0.1:
        del event["card_id"]
    return event


def _stolen(rng: random.Random, users: int) -> dict[str, Any]:
    """One of three farms tries cards of many people, mostly with small amounts and in vain."""
    user = rng.randrange(users)
    return {
        "user_id": f"user_{user}",
        "card_id": f"card_{user}_0",
        "device_id": f"farm_{rng.randrange(3)}",
        "amount": round(rng.choice([rng.uniform(0.5, 2), rng.uniform(200, 900)]), 2),
        "country": rng.choice(COUNTRIES),
        "merchant": f"shop_{rng.randrange(200)}",
        "approved": rng.random() < 0.4,
    }


if __name__ == "__main__":
    for payment in payments(int(sys.argv[1]) if len(sys.argv) > 1 else 2000, 1, time.time_ns() // 1_000_000):
        print(json.dumps(payment))
