"""What fuzz tests share: how much of it there is, how values are bent, and a count of what was really made.

Little in every run, all of it in the long form (`make fuzz`). The counts stand at the end of pytest's report.
"""

from __future__ import annotations

import copy
import os
import random
from collections import Counter
from typing import Any

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"

MADE: Counter[str] = Counter()
"""By what was tried (`manifests`, `requests to serving`, …) how often."""

ODD: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, -0.0, 2.5, 1e308, 1e-320, 2**53 + 1, 2**63, -(2**63) - 1, 10**30, 10**400),
    *(float("nan"), float("inf"), float("-inf")),
    *("", " ", "x", "0", "1e999", "null", "true", "nan", "1h", "0s", "99999999999d", "\uff11h", "P1D", "2026-02-30"),
    *(
        "2026-01-05T10:30:00Z",
        "9999-12-31T23:59:60+99:99",
        "x" * 600,
        "é" * 300,
        "😀",
        "\u202e",
        "a\nb",
        "\x00",
        "\x7f",
    ),
    *("\ud800", "a.b", "../..", "${x}", "%s", "{0}", "'", '"', "\\", "--", "a b", "user_id", "lifetime", "now()"),
    *([], {}, [[]], [{}], {"": None}, {"a": {"b": []}}, ["1h"] * 40, [None] * 600, dict.fromkeys("abcdefgh" * 30)),
)
"""Values that some place does not expect."""


def examples(few: int, many: int) -> int:
    """How many examples a test takes."""
    return many if LONG else few


def made(what: str, count: int = 1) -> None:
    """Counts what a test has tried."""
    MADE[what] += count


def nested(depth: int, rng: random.Random) -> Any:
    """Lists and mappings in each other, so many deep."""
    value: Any = rng.choice(ODD[:5])
    for _ in range(depth):
        value = [value] if rng.random() < 0.5 else {"a": value}
    return value


def bent(data: Any, rng: random.Random, most: int = 3) -> Any:
    """A copy of plain data with up to `most` values exchanged, left out, doubled, moved or put in."""
    data = copy.deepcopy(data)
    for _ in range(rng.randrange(most + 1)):
        holders = list(_holders(data))
        if not holders:
            return odd(rng)
        _bend(rng.choice(holders), holders, rng)
    return data


def odd(rng: random.Random) -> Any:
    """One odd value."""
    return nested(rng.choice((2, 30, 200)), rng) if rng.random() < 0.05 else copy.deepcopy(rng.choice(ODD))


def _holders(data: Any) -> Any:
    """Every list and mapping that is not empty."""
    inner = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
    if inner:
        yield data
    for value in inner:
        yield from _holders(value)


def _bend(holder: Any, holders: list[Any], rng: random.Random) -> None:
    place = rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
    other = rng.choice(holders)
    found = rng.choice(list(other.values()) if isinstance(other, dict) else other)
    kind = rng.randrange(6)
    if kind == 0:
        del holder[place]
    elif kind == 1:
        holder[place] = copy.deepcopy(found)
    elif kind == 2 and isinstance(holder, dict):
        name = rng.choice(("", "x", "name", "aggregate", "of", "path", f"{place} ", str(place).upper()))
        holder[name] = holder.pop(place)
    elif kind == 2:
        holder.insert(place, copy.deepcopy(holder[place]))
    else:
        holder[place] = odd(rng)
