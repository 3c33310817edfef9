"""Whether what the client library delivers of a partition is what comes next in its log.

Offsets may have holes (control records of transactions, compaction), so a jump may be right. It may also be wrong: what
was fetched before a partition was assigned anew can still come after it, and a late answer to "where is the log's end"
has been seen to move the client there (librdkafka 2.16). A jump that is believed wrongly loses events without a trace,
so another consumer, which has no past, is asked before one is believed.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from confluent_kafka import KafkaException, TopicPartition

from freshet.engine.column import Ints
from freshet.runtime.settings import KafkaSettings
from freshet.stores import kafka
from freshet.stores.answers import unanswered

_ANSWER_SECONDS = 5.0


class Continuity:
    """Of one partition, from its take-over on."""

    def __init__(self, look: Callable[[int], int]) -> None:
        """`look` finds where the first record at or behind an offset is, or where the log ends; may raise."""
        self._look = look
        self._begun = False
        self._holes = False
        """Whether this log is known to have holes: once one was confirmed, later ones are everyday."""

    def accepts(self, position: int, offsets: Ints) -> bool:
        """Whether records at `offsets`, which rise, come next at `position`. Raises what `look` raises.

        Only the first delivery must not begin before `position`: later on records may come twice.
        """
        first, last = int(offsets[0]), int(offsets[-1])
        if first < position and not self._begun:
            return False
        if first > position and not self._is_hole(position, first):
            return False
        if last - first + 1 != len(offsets):
            for i in np.flatnonzero(np.diff(offsets) != 1).tolist():
                if not self._is_hole(int(offsets[i]) + 1, int(offsets[i + 1])):
                    return False
        self._begun = True
        return True

    def ends(self, position: int, offset: int) -> bool:
        """Whether the log has nothing more from `position` to `offset`, which is said to be its end."""
        return offset <= position or self._is_hole(position, offset)

    def _is_hole(self, begin: int, end: int) -> bool:
        if self._holes and self._begun:
            return True
        self._holes = self._look(begin) >= end
        return self._holes


def next_offset(settings: KafkaSettings, topic: str, partition: int, offset: int) -> int:
    """Where the first record at or behind `offset` is, or the end of the log; asked by a consumer of its own.

    Raises KafkaException if Kafka does not answer in time, or `offset` is not in the log.
    """
    client = kafka.consumer(settings, "freshet.look")
    try:
        client.assign([TopicPartition(topic, partition, offset)])
        end = time.monotonic() + _ANSWER_SECONDS
        while time.monotonic() < end:
            message = client.poll(0.5)
            if message is None:
                continue
            error = message.error()
            if error is not None and error.code() != kafka.PARTITION_END:
                raise KafkaException(error)
            found = message.offset()
            assert found is not None
            return found
        raise unanswered(f"{topic}/{partition} was not read in time")
    finally:
        client.close()
