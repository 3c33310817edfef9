"""Records of one partition as they came from Kafka."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from freshet.engine.column import Ints


@dataclass(frozen=True, slots=True)
class Records:
    """Consecutive records in offset order; offsets may have gaps."""

    offset: Ints
    broker_ms: Ints
    values: Sequence[bytes | None]
    key: Callable[[int], bytes | None]
    """The message key of the record at an index: asked only for records that are rejected."""

    def __len__(self) -> int:
        return len(self.values)
