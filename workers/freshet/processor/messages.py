"""Messages of Kafka as records of one partition."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from confluent_kafka import Message

from freshet.engine.control import Erase, Mark, Replay, is_marked, mark_of
from freshet.processor.records import Records
from freshet.stores.kafka import raw


def to_records(messages: list[Message], owner: str) -> Records:
    """Messages of one partition as columns, for the revision `owner` (namespace/featureset/revision)."""
    size = len(messages)
    skip = erase = None
    # Headers are rare. Asking each message by the method itself, in C, costs a hundredth of what decoding costs.
    if any(map(Message.headers, messages)):
        skip, erase = np.zeros(size, np.bool_), np.zeros(size, np.bool_)
        for index, mark in _marks(messages):
            erase[index] = isinstance(mark, Erase)
            skip[index] = isinstance(mark, Replay) and mark.owner != owner
    return Records(
        np.fromiter((m.offset() for m in messages), np.int64, size),
        np.fromiter((m.timestamp()[1] for m in messages), np.int64, size),
        [m.value() for m in messages],
        lambda i: raw(messages[i].key()),
        skip,
        erase,
    )


def _marks(messages: list[Message]) -> Iterator[tuple[int, Mark]]:
    for index, message in enumerate(messages):
        pairs: Any = message.headers()
        if pairs and is_marked(pairs):
            mark = mark_of(raw(message.key()), raw(message.value()), pairs)
            if mark is not None:
                yield index, mark
