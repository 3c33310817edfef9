"""How many records to ask Kafka for at once."""

from __future__ import annotations

_SECONDS = 0.3
"""What one poll brings is worked on for about so long: what else there is to do waits meanwhile."""
_SMALLEST, _LARGEST = 1_000, 40_000


class PollSize:
    """Many records a poll cost less each: partitions bring more of an entity, and of each other, at once."""

    def __init__(self) -> None:
        self.records = 10_000

    def full(self, records: int) -> bool:
        """Whether a poll that brought so many tells of a backlog."""
        return 2 * records >= self.records

    def took(self, records: int, seconds: float) -> None:
        """So many were polled and worked on; only polls with a backlog behind them say how fast that is."""
        if self.full(records):
            fitting = int(records * _SECONDS / seconds) if seconds > 0 else _LARGEST
            self.records = max(_SMALLEST, min(_LARGEST, fitting, 2 * self.records))
