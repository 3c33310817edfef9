"""Consecutive records of one partition, as the recorder takes them from Kafka."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from confluent_kafka import Message

from freshet.engine.column import Ints
from freshet.engine.control import Headers
from freshet.stores.kafka import raw


@dataclass(frozen=True, slots=True)
class Batch:
    """Columns of equal length, in offset order; offsets may have gaps."""

    offset: Ints
    broker_ms: Ints
    values: Sequence[bytes | None]
    keys: Sequence[bytes | None]
    headers: dict[int, Headers]
    """Of the records that have some, by index."""

    def __len__(self) -> int:
        return len(self.values)

    def after(self, count: int) -> Batch:
        """Without the first records."""
        headers = {i - count: pairs for i, pairs in self.headers.items() if i >= count}
        return Batch(self.offset[count:], self.broker_ms[count:], self.values[count:], self.keys[count:], headers)

    @classmethod
    def joined(cls, parts: Sequence[Batch]) -> Batch:
        """At least one batch, each being what came next after the one before."""
        if len(parts) == 1:
            return parts[0]
        begins = accumulate(map(len, parts), initial=0)
        return cls(
            np.concatenate([part.offset for part in parts]),
            np.concatenate([part.broker_ms for part in parts]),
            [value for part in parts for value in part.values],
            [key for part in parts for key in part.keys],
            {begin + i: pairs for begin, part in zip(begins, parts, strict=False) for i, pairs in part.headers.items()},
        )


def batch_of(messages: Sequence[Message]) -> Batch:
    """Messages without errors of one partition."""
    size = len(messages)
    headers: dict[int, Headers] = {}
    if any(map(Message.headers, messages)):  # rare on source topics; asking all of them costs next to nothing
        headers = {i: pairs for i, pairs in enumerate(map(_pairs, messages)) if pairs}
    return Batch(
        np.fromiter((m.offset() for m in messages), np.int64, size),
        np.fromiter((m.timestamp()[1] for m in messages), np.int64, size),
        [raw(m.value()) for m in messages],
        [raw(m.key()) for m in messages],
        headers,
    )


def _pairs(message: Message) -> Headers:
    headers: Any = message.headers() or ()
    return [(name, raw(value)) for name, value in headers]
