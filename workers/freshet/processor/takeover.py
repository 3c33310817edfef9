"""How a partition becomes ours: the token at once, and then, in a thread of its own, whatever its states still need.

Bringing states back may take minutes. Other partitions go on meanwhile, and Kafka is polled.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, replace
from threading import Event
from uuid import UUID

from freshet.engine.layout import Layout
from freshet.processor.backlog import Backlog
from freshet.processor.forgotten import Forgotten
from freshet.processor.origin import LogBounds, Origin, origin
from freshet.processor.partition import PartitionOwner
from freshet.processor.rebuild import Rebuild
from freshet.processor.restore import Restore
from freshet.stores import erasures
from freshet.stores.event_log import EventLog, Recorded
from freshet.stores.fence import Refused, Script, Takeover
from freshet.stores.postgres import HistoryDown
from freshet.stores.states import Checkpoint, States
from freshet.stores.topics import topic_uuid

_log = logging.getLogger(__name__)


_MOMENT_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class Begun:
    """A partition whose states are as its progress says."""

    owner: PartitionOwner
    backlog: Backlog | None
    """Events to be taken before those of Kafka."""
    lost: int
    """Offsets that are in no log any more."""


@dataclass(slots=True)
class Taking:
    """A partition that is ours and maybe not ready yet."""

    owner: PartitionOwner
    rebuild: Rebuild
    begun: Future[Begun]
    """Raises what ends an ownership."""
    log_end: int
    """Where Kafka's log ended: where the partition may stand while it is not consumed."""
    dropped: Event = field(default_factory=Event)
    """Set when the partition is not ours any more."""
    decided: Event = field(default_factory=Event)
    """Set when it is ready, or when it is known that this takes long."""


@dataclass(frozen=True, slots=True)
class History:
    """The history database, as far as one revision needs it."""

    url: str
    revision: str
    """namespace/featureset/revision."""
    threads: Executor
    """Reads events ahead."""


@dataclass(frozen=True, slots=True)
class _Log:
    """The partition's log: which topic it is of, and what Kafka has of it."""

    topic_id: UUID
    bounds: LogBounds


class Takeovers:
    """Takes partitions over."""

    def __init__(
        self,
        io: Executor,
        rebuilds: Executor,
        layout: Layout,
        clock: Callable[[], int],
        history: History | None,
        horizon: Callable[[int, LogBounds], int | None],
        *,
        skip_gaps: bool,
    ) -> None:
        """`io` is where scripts of partitions that are ready are sent. `rebuilds` has as many threads as partitions are
        rebuilt at the same time: while one waits for the store or for rows, another has something to do.

        `horizon` looks up `LogBounds.horizon` of a partition.
        """
        self._io = io
        self._rebuilds = rebuilds
        self._layout = layout
        self._clock = clock
        self._history = history
        self._horizon = horizon
        self._skip_gaps = skip_gaps
        self._long: Future[Begun] | None = None
        """The last one that was not worth waiting for: while it lasts, the others are not waited for either."""

    def take(self, owner: PartitionOwner, topic_id: str, bounds: LogBounds) -> Taking:
        """Makes `owner` the partition's owner. Raises what ends an ownership."""
        claimed = self._io.submit(owner.claim, topic_id).result()
        taking = Taking(owner, Rebuild(), Future(), bounds.end)
        log = _Log(topic_uuid(topic_id), bounds)
        if not claimed.created and bounds.start <= claimed.progress.offset <= bounds.end:
            begin = claimed.progress.offset
            taking.rebuild.planned(0, begin, bounds.end)
            self._io.submit(owner.start, claimed.duplicates_index, bounds.end).result()
            taking.begun.set_result(Begun(owner, None, 0))
        elif self._history is None:
            # Nothing that takes long: consuming can begin at the right place at once.
            taking.begun.set_result(self._settle(taking, claimed, log))
        else:
            taking.begun = self._rebuilds.submit(self._settle, taking, claimed, log)
            taking.begun.add_done_callback(lambda _: taking.decided.set())
            self._wait_a_moment(taking)
        return taking

    def _wait_a_moment(self, taking: Taking) -> None:
        """Mostly there is nothing to bring back: then consuming can begin at the right place at once, too."""
        if self._long is None or self._long.done():
            taking.decided.wait(_MOMENT_SECONDS)
            if not taking.begun.done():
                self._long = taking.begun

    def _settle(self, taking: Taking, claimed: Takeover, log: _Log) -> Begun:
        taking.rebuild.waits_for = "the history database" if self._history else None
        log = replace(log, bounds=replace(log.bounds, horizon=self._horizon(taking.owner.partition, log.bounds)))
        checkpoint, recorded = self._known(taking.owner.partition, claimed, log)
        stored = None if claimed.created else claimed.progress.offset
        found = origin(taking.owner.partition, stored, log.bounds, checkpoint, recorded, skip_gaps=self._skip_gaps)
        taking.owner.forgotten = self._forgotten(taking.owner.partition, log, found.offset)
        index = claimed.duplicates_index
        if found.restore and checkpoint is not None:
            index = checkpoint.duplicates_index
            self._restore(taking, checkpoint, found.offset, log.bounds.end)
        else:
            taking.rebuild.planned(0, found.offset, log.bounds.end)
            building = False if claimed.created else None
            if claimed.created:
                kafka_from = found.offset if found.history_until is None else found.history_until
                taking.owner.fence.note_beginning(found.offset, kafka_from)
            self._send(taking, taking.owner.fence.prepare([], move_to=found.offset, complete=building))
        self._io.submit(taking.owner.start, index, log.bounds.end).result()
        return Begun(taking.owner, self._backlog(taking, found, log), found.lost)

    @staticmethod
    def _send(taking: Taking, script: Script) -> None:
        """From the thread that rebuilds: until the partition is ready nobody else uses its fence."""
        if taking.dropped.is_set():
            raise Refused(f"partition {taking.owner.partition} was given to another processor")
        taking.owner.fence.send(script)

    def _known(self, partition: int, claimed: Takeover, log: _Log) -> tuple[Checkpoint | None, Recorded | None]:
        """The checkpoint and the event log of this topic.

        While the history database is away a log that is enough by itself is used; otherwise it is waited for, since
        states that were built without it would lack what only it has. Raises HistoryDown.
        """
        if self._history is None:
            return None, None
        try:
            checkpoint = None
            if claimed.created:
                checkpoint = States(self._history.url).latest(self._history.revision, partition)
            recorded = EventLog(self._history.url, log.topic_id, partition).recorded()
        except HistoryDown:
            if claimed.created and log.bounds.enough is not None:
                return None, None
            raise
        if checkpoint is not None and checkpoint.topic_id != log.topic_id:
            checkpoint = None  # of a topic that was deleted: its events are not in this log
        return checkpoint, recorded

    def _forgotten(self, partition: int, log: _Log, offset: int) -> Forgotten:
        """What is to be forgotten from an offset on; nothing is known of it while the history database is away."""
        if self._history is None:
            return Forgotten()
        try:
            return Forgotten(erasures.ahead(self._history.url, log.topic_id, partition, offset))
        except HistoryDown as error:
            _log.warning("erasures are not known in advance", extra={"partition": partition, "error": str(error)})
            return Forgotten()

    def _restore(self, taking: Taking, checkpoint: Checkpoint, offset: int, log_end: int) -> None:
        assert self._history is not None
        taking.decided.set()
        states = States(self._history.url)
        with states.snapshot(self._history.revision, taking.owner.partition) as snapshot:
            if snapshot is None or snapshot.checkpoint != checkpoint:
                raise Refused("another checkpoint was written meanwhile")
            taking.rebuild.planned(snapshot.count(), offset, log_end)
            restore = Restore(
                taking.owner.fence, self._layout, lambda script: self._send(taking, script), taking.rebuild
            )
            restore.run(snapshot, offset, log_end, self._clock())

    def _backlog(self, taking: Taking, found: Origin, log: _Log) -> Backlog | None:
        if found.history_until is None:
            return None
        assert self._history is not None
        events = EventLog(self._history.url, log.topic_id, taking.owner.partition)
        return Backlog(events, found.offset, found.history_until, self._history.revision, self._history.threads)
