"""Records of one partition as they came from Kafka."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from freshet.engine.column import Bools, Ints
from freshet.engine.hashtable import Hashes


@dataclass(frozen=True, slots=True)
class Records:
    """Consecutive records in offset order; offsets may have gaps."""

    offset: Ints
    broker_ms: Ints
    values: Sequence[bytes | None]
    key: Callable[[int], bytes | None]
    """The message key of the record at an index: asked only for records that are rejected or erase."""

    skip: Bools | None = None
    """Records that take their place and their time in the log and are nothing else to this revision; None: there are
    none."""
    erase: Bools | None = None
    """Records that say: forget what the entity did before. Their keys are entities' keys; None: there are none."""
    known: tuple[Ints, Hashes] | None = None
    """Indices of skipped records that were events, and the hashes of their ids: the same event may come again."""

    def __len__(self) -> int:
        return len(self.values)

    def events(self) -> Ints | None:
        """Indices of those that are to be decoded; None: all."""
        other = self.erase if self.skip is None else self.skip if self.erase is None else self.skip | self.erase
        return None if other is None else np.flatnonzero(~other)

    def some(self, at: Ints | None) -> tuple[Sequence[bytes | None], Ints, Ints]:
        """Values, offsets and broker times of the records at these indices; None: of all."""
        if at is None:
            return self.values, self.offset, self.broker_ms
        return [self.values[i] for i in at.tolist()], self.offset[at], self.broker_ms[at]

    def erasures(self) -> dict[str, int]:
        """By entity the index of the last record that erases it."""
        if self.erase is None:
            return {}
        return {(self.key(index) or b"").decode(): index for index in np.flatnonzero(self.erase).tolist()}
