"""From where a partition's states go on: a decision about offsets, without asking anybody (decision 8).

What is needed is every event that shows in some value. It may be in the store, in a checkpoint, in Kafka's log or in
the event log of the history database.
"""

from __future__ import annotations

from dataclasses import dataclass

from freshet.processor.partition import SourceTruncated
from freshet.stores.event_log import Recorded
from freshet.stores.states import Checkpoint


@dataclass(frozen=True, slots=True)
class LogBounds:
    """What Kafka has of the partition."""

    start: int
    """The first offset that is still there."""
    end: int
    """The offset that the next record gets."""
    horizon: int | None
    """The first offset that shows in some value, if it is not before `start`; None: it may be, or every event shows."""

    @property
    def enough(self) -> int | None:
        """The offset from which reading this log alone gives every value exactly; None: it does not."""
        return self.start if self.start == 0 else self.horizon


@dataclass(frozen=True, slots=True)
class Origin:
    """Where to begin."""

    offset: int
    restore: bool = False
    """Whether the states of the checkpoint, which is at `offset`, have to be brought back first."""
    history_until: int | None = None
    """Events below it come from the event log; None: all from Kafka."""
    lost: int = 0
    """Offsets that are in no log any more, if that was allowed."""


def origin(
    partition: int,
    stored: int | None,
    log: LogBounds,
    checkpoint: Checkpoint | None,
    recorded: Recorded | None,
    *,
    skip_gaps: bool = False,
) -> Origin:
    """Decides. `stored` is the offset in the store; None: the store has no states.

    `checkpoint` and `recorded` are of the same topic id as the log. Raises SourceTruncated if events that show in some
    value are in no log, unless `skip_gaps`.
    """
    if stored is not None:
        return _reach(stored, log, recorded) or _gap(partition, stored, False, log, recorded, skip_gaps)
    if checkpoint is not None:
        found = _reach(checkpoint.offset, log, recorded)
        if checkpoint.offset > log.end:
            return _gap(partition, checkpoint.offset, True, log, recorded, skip_gaps)
        if found is not None:
            return Origin(found.offset, True, found.history_until)
    if log.enough is not None:
        return Origin(log.enough)
    earliest = None if recorded is None else _reach(recorded.first, log, recorded)
    if checkpoint is not None and (earliest is None or earliest.offset > 0):
        return _gap(partition, checkpoint.offset, True, log, recorded, skip_gaps)
    # Without a checkpoint states are built for the first time: from the earliest event that is anywhere.
    return earliest if earliest is not None and earliest.offset < log.start else Origin(log.start)


def _reach(offset: int, log: LogBounds, recorded: Recorded | None) -> Origin | None:
    """How every event from `offset` on that shows can be read."""
    if log.start <= offset <= log.end:
        return Origin(offset)
    if offset > log.end:
        return None
    if log.horizon is not None:
        return Origin(log.horizon)  # what is between is older than every window
    if recorded is not None and recorded.first <= offset and recorded.next >= log.start:
        return Origin(offset, history_until=log.start)
    return None


def _gap(partition: int, offset: int, restore: bool, log: LogBounds, recorded: Recorded | None, skip: bool) -> Origin:
    """What is between the states and the log is gone: an offset beyond the log's end is never skipped."""
    what = "the newest checkpoint" if restore else "the store"
    if offset > log.end:
        raise SourceTruncated(
            f"partition {partition}: {what} is at offset {offset}, but the topic ends at {log.end}: it lost records "
            "that are in the states. Restore the topic, or free the revision's keys and checkpoints "
            "(freshet purge --postgres) to build the states from what the topic has"
        )
    if skip:
        return Origin(log.start, restore, lost=log.start - offset)
    has = "there is no event log" if recorded is None else f"the event log has {recorded.first} to {recorded.next}"
    raise SourceTruncated(
        f"partition {partition}: {what} is at offset {offset}, the topic begins at {log.start}, and {has}: the events "
        f"between would be missing. Wait for the recorder or restore the history database, or set "
        f"FRESHET_ON_GAP=skip to go on without them"
    )
