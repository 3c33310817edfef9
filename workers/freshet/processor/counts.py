"""What became of the events that a process took, in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import numpy as np

from freshet.engine.column import Bools
from freshet.engine.events import EventBatch
from freshet.engine.rejection import Reason, Rejected
from freshet.engine.state_table import Tally


@dataclass(slots=True)
class Counts:
    """What happened since the service last asked."""

    processed: int = 0
    duplicates: int = 0
    late: int = 0
    clamped: int = 0
    too_late: int = 0
    left_out_of_sessions: int = 0
    coarser: int = 0
    nulls: int = 0
    hits: int = 0
    misses: int = 0
    vectors: int = 0
    erased: int = 0
    rejected: dict[Reason, int] = field(default_factory=dict)

    def took(self, batch: EventBatch, accepted: Bools, rejected: Sequence[Rejected], tally: Tally) -> None:
        """Adds what became of a batch."""
        self.processed += int(np.count_nonzero(accepted))
        self.duplicates += len(batch) - int(np.count_nonzero(accepted))
        self.clamped += 0 if batch.clamped is None else int(np.count_nonzero(batch.clamped))
        self.late += tally.late
        self.too_late += tally.too_late
        self.left_out_of_sessions += tally.left_out_of_sessions
        self.nulls += tally.nulls
        self.coarser += tally.coarser
        for item in rejected:
            self.rejected[item.reason] = self.rejected.get(item.reason, 0) + 1

    def clear(self) -> None:
        """Sets everything to zero."""
        for item in fields(self):
            setattr(self, item.name, {} if item.name == "rejected" else 0)
