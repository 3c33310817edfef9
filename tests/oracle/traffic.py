"""Logs and reads of every awkward kind, made from a few drawn numbers and a seed.

Hypothesis draws the shape (how many records, which paces, how much disorder); a seeded generator fills it, so that an
example of hundreds of records costs one draw, and still shrinks to few records and few kinds of trouble.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from freshet.dev.oracle.log import Log, Record, log_of
from freshet.dev.oracle.run import Reads
from freshet.spec.definition import AggregateFeature, Definition
from tests.oracle.manifests import KINDS

KEYS = ("0", "user_1", "ünïcødé", "😀", " ", "a:b", "{x}", "'; drop", "null", "-1", "x" * 512, "\u0001", "a\u0301", "á")
PACES = (0, 1, 40, 900, 30_000, 700_000, 7_000_000, 260_000_000)
"""Typical ms between records; a log mixes some of them, so that bursts follow silences of days."""
STARTS = (1_769_871_600_000, 1_782_000_000_123, 3_000, 4_070_000_000_000)
"""Two days of 2026, the beginning of 1970, and 2098."""
GRAINS = (1, 1_000, 15_000, 60_000, 3_600_000, 86_400_000)
TROUBLES = (
    "late",
    "future",
    "edges",
    "equal",
    "duplicates",
    "nulls",
    "malformed",
    "backwards",
    "huge",
    "tiny",
    "gaps",
    "oldest",
    "erasures",
)


@dataclass(frozen=True, slots=True)
class Shape:
    """What a log is like."""

    records: int
    entities: int
    seed: int
    start_ms: int
    paces: tuple[int, ...]
    troubles: frozenset[str]


SHAPES = st.builds(
    Shape,
    records=st.one_of(st.integers(1, 40), st.integers(100, 400)),
    entities=st.one_of(st.integers(1, len(KEYS)), st.just(200)),
    seed=st.integers(0, 2**32 - 1),
    start_ms=st.sampled_from(STARTS),
    paces=st.lists(st.sampled_from(PACES), min_size=1, max_size=4).map(tuple),
    troubles=st.frozensets(st.sampled_from(TROUBLES)),
)


class Traffic:
    """Fills a shape for a definition: its windows, gaps and spans say where the edges are."""

    def __init__(self, definition: Definition, shape: Shape) -> None:
        self.definition = definition
        self.shape = shape
        self.random = random.Random(shape.seed)
        self.keys = [*KEYS, *(f"k{i}" for i in range(shape.entities))][: shape.entities]
        self.spans = _spans(definition)
        self.windows = definition.windows
        self.records: list[Record] = []
        self._log_ms: list[int] = []
        self._newest: dict[str, int] = {}
        self._broker = shape.start_ms
        self._offset = 0

    def log(self) -> Log:
        """The log."""
        for i in range(self.shape.records):
            self.records.append(self._record(i))
            self._log_ms.append(max([self._broker, *self._log_ms[-1:]]))
        return log_of(self.records, self.definition)

    def reads(self, log: Log, count: int) -> Reads:
        """Reads at all edges that the log has, some of entities that it does not know, at any position of the log."""
        keys, upto, now = [], [], []
        for _ in range(count):
            position = self.random.choice((len(log), self.random.randrange(len(log) + 1)))
            record = self.random.choice(self.records)
            keys.append(self.random.choice((record.key, record.key, record.key, self.random.choice(KEYS))))
            upto.append(int(log.offset[position - 1]) + 1 if position else 0)
            now.append(max(0, min(record.t, record.broker_ms) + self._edge()))
        return Reads(keys, np.array(upto, np.int64), np.array(now, np.int64))

    def _has(self, trouble: str, share: float) -> bool:
        return trouble in self.shape.troubles and self.random.random() < share

    def _edge(self) -> int:
        """A distance that puts a read at, or one step beside, an edge of an event."""
        pick = self.random.random()
        if pick < 0.25:
            return -self.random.randrange(10**9)
        span = self.random.choice(self.spans)
        if pick < 0.35:
            return self.random.randrange(4 * span)
        hop = self.random.choice((0, 0, 1, self.random.choice(GRAINS)))
        return span + hop + self.random.choice((-1, 0, 1))

    def _record(self, i: int) -> Record:
        random = self.random
        self._offset += random.choice((1, 1, 3)) if "gaps" in self.shape.troubles else 1
        pace = self.shape.paces[(i // 25) % len(self.shape.paces)] if random.random() < 0.9 else 0
        self._broker += round(pace * random.expovariate(1))
        if self._has("backwards", 0.05):
            self._broker = max(0, self._broker - random.randrange(1 + 2 * self.definition.deduplicate_ms))
        # A few hot entities, so that logs of few records have long histories, and now and then any.
        key = self.keys[min(int(random.expovariate(0.4)), len(self.keys) - 1)]
        if random.random() < 0.3:
            key = random.choice(self.keys)
        event_id = f"id{i}" if random.random() < 0.9 else None
        if self.records and self._has("duplicates", 0.3):
            key, event_id = self._again()
        self._broker = min(self._broker, 4_102_000_000_000)
        t = self._time(key)
        self._newest[key] = max(self._newest.get(key, 0), min(t, self._broker))
        return Record(
            self._offset - 1,
            self._broker,
            t,
            key,
            event_id,
            self._fields(),
            self._has("malformed", 0.05),
            self._has("erasures", 0.08),
        )

    def _again(self) -> tuple[str, str | None]:
        """Key and event id of an earlier record; often at the very edge of the duplicate span."""
        random = self.random
        j = random.randrange(max(0, len(self.records) - 10), len(self.records))
        edge = self._log_ms[j] + self.definition.deduplicate_ms + random.choice((-1, 0, 1))
        if random.random() < 0.5 and edge >= self._log_ms[-1]:
            self._broker = edge
        other = self.records[j]
        return (other.key if random.random() < 0.9 else random.choice(self.keys)), other.event_id

    def _time(self, key: str) -> int:
        random = self.random
        t = self._broker - random.choice((0, 0, 1, 500))
        if self._has("late", 0.3):
            t -= random.choice((random.randrange(2 * random.choice(self.spans)), random.choice(self.spans)))
        if self._has("future", 0.2):
            skew = self.definition.max_future_skew_ms
            t = self._broker + random.choice((1, skew, skew + 1, random.randrange(skew + 2)))
        if self._has("edges", 0.4):
            grain = random.choice(GRAINS)
            t = t // grain * grain + random.choice((-2, -1, 0, 0, 1))
        if self.records and self._has("equal", 0.3):
            t = random.choice(self.records[-10:]).t + random.choice((0, 0, *self.spans))
        if key in self._newest and self.windows and self._has("oldest", 0.4):
            window = random.choice(self.windows)
            edge = (self._newest[key] + 1 - window.length_ms) // window.hop_ms * window.hop_ms
            t = edge + random.choice((-1, 0, 1, random.choice(GRAINS), -random.choice(GRAINS)))
        return max(0, t)

    def _fields(self) -> dict[str, float | str | bool | None]:
        random = self.random
        amount: float = random.choice((random.randrange(-20, 21), round(random.uniform(-100, 100), 2)))
        qty = float(random.randrange(-3, 4))
        if self._has("huge", 0.4):
            amount, qty = random.choice((1e12, -1e12, 1e12 - 0.25, 999999.999)), random.choice((10.0**12, 1.0))
        if self._has("tiny", 0.4):
            amount = random.choice((1e-9, -1e-9, 0.1, 1e-30, 0.0))
        fields: dict[str, float | str | bool | None] = {
            "amount": float(amount),
            "qty": qty,
            "kind": random.choice(KINDS),
            "flag": random.random() < 0.5,
            "note": random.choice(("", "a\u0000b", "naïve", "é" * 300, f"note {random.randrange(300)}")),
        }
        if "nulls" in self.shape.troubles:
            fields = {name: None if random.random() < 0.3 else value for name, value in fields.items()}
        return fields


def _spans(definition: Definition) -> list[int]:
    """Lengths of time that mean something: where things must be tried exactly."""
    features = [f for f in definition.features if isinstance(f, AggregateFeature)]
    spans = {f.window.length_ms for f in features if f.window} | {f.gap_ms for f in features if f.gap_ms}
    return sorted(spans) or [60_000]
