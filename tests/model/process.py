"""A processor of the conformance test: the real PartitionOwner, whose every step and every reply the test decides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import redis
from confluent_kafka import Producer

from freshet.processor.outputs import OutputFailed, Outputs
from freshet.processor.partition import Flush, Limits, PartitionOwner
from freshet.processor.rebuild import Rebuild
from freshet.processor.restore import Restore
from freshet.processor.vectors import tell_together
from freshet.spec import naming
from freshet.stores import fence as fences
from freshet.stores import scripts
from freshet.stores.fence import PartitionFence, Refused, Script, StoreDown, StoreFull
from freshet.stores.redis import Client
from freshet.stores.states import Snapshot
from tests.model.world import COMPILED, FEATURESET, START_MS, Broker, World

Failure = (Refused, StoreDown, StoreFull, OutputFailed)
_TOPIC_ID = "topic"


class Died(Exception):
    """The process is killed where it is."""


@dataclass
class Router:
    """The client that all processes use: it goes to one of two primaries, and may lose a reply."""

    main: redis.Redis
    old: redis.Redis
    to_old: bool = False
    lose: str | None = None
    """`before` or `after` the command was executed: the next reply does not come."""
    twice: bool = False
    """Every command goes to both primaries."""

    def execute_command(self, *args: Any) -> Any:
        """Sends a command as redis-py would."""
        lose, self.lose = self.lose, None
        if lose == "before":
            raise redis.TimeoutError("lost")
        if self.twice:
            self.old.execute_command(*args)  # type: ignore[no-untyped-call]
        reply = (self.old if self.to_old else self.main).execute_command(*args)  # type: ignore[no-untyped-call]
        if lose == "after":
            raise redis.TimeoutError("lost")
        return reply


@dataclass
class Variant:
    """The code under test; `variants` has one for each rule that can be left out."""

    fence: Callable[[Client, str], PartitionFence] = PartitionFence
    owner: type[PartitionOwner] = PartitionOwner
    outputs: type[Outputs] = Outputs
    keeps_token: bool = False
    """After a failure it goes on under the token that it had."""
    checks_idle: bool = True
    takes_over_twice: bool = False
    marks_restoring: bool = True
    commits_to_kafka: bool = False
    """Consuming begins at what was committed to Kafka."""


@dataclass
class Process:
    """One processor: idle, or the owner of the partition with a flush under way or not."""

    world: World
    router: Router
    variant: Variant
    limits: Limits
    now_ms: Callable[[], int]
    owner: PartitionOwner | None = None
    scripts: list[Script] = field(default_factory=list)
    late: list[Script] = field(default_factory=list)
    committed: int = 0
    meanwhile: Callable[[], None] = lambda: None
    """What happens between the scripts of a restoring; it may raise Died."""

    def take_over(self, token_of: PartitionFence | None = None) -> None:
        """§6.5; after a failure the process is idle again. Of an owner before nothing is left."""
        self.crash()
        fence = self.variant.fence(cast(Client, self.router), self.world.tag)
        if token_of is not None:
            fence = _Kept(token_of)
        source = {"freshet-partition": "0"}
        broker = cast(Producer, Broker(self.world, self.world.sent))
        outputs = self.variant.outputs(broker, FEATURESET, source=source, dead_letter_topic="dead")
        owner = self.variant.owner(FEATURESET, 0, fence, outputs, compiled=COMPILED, limits=self.limits)
        self.router.twice = self.variant.takes_over_twice and bool(self.world.copy(self.router.old))
        try:
            if self.variant.marks_restoring or self.world.saved is None:
                taken = owner.claim(_TOPIC_ID)
            else:
                taken = fence.take_over(self.world.saved.checkpoint.offset, _TOPIC_ID)
            index = self._build(fence) if taken.created else taken.duplicates_index
            owner.start(index, self.world.log.end)
        except (*Failure, Died):
            return
        finally:
            self.router.twice = False
        if self.variant.commits_to_kafka:
            owner.position = self.committed
        self.owner = owner

    def _build(self, fence: PartitionFence) -> bytes | None:
        """From the checkpoint, or else from the beginning; returns the filter's index."""
        saved = self.world.saved
        if saved is None:
            fence.send(fence.prepare([], move_to=0, complete=False))
            return None

        def send(script: Script) -> None:
            self.meanwhile()
            fence.send(script)

        restore = Restore(fence, COMPILED.layout, send, Rebuild(), keys=1)
        restore.run(cast(Snapshot, saved), saved.checkpoint.offset, self.world.log.end, self.now_ms())
        return saved.checkpoint.duplicates_index

    def crash(self) -> None:
        """Memory is gone; what it sent to Kafka and was not acknowledged may or may not have arrived."""
        self.owner, self.scripts = None, []

    def fail(self) -> None:
        """A refusal or doubt (§6.6)."""
        owner = self.owner
        self.crash()
        if self.variant.keeps_token and owner is not None:
            progress = self.world.progress(self.router.main)
            if progress is not None and progress.token == owner.fence.progress.token:
                self.take_over(owner.fence)

    def take(self, count: int) -> None:
        """The next records."""
        assert self.owner is not None
        end = min(self.owner.position + count, self.world.log.end)
        self._do(lambda: self.owner.take(self.world.log.records(self.owner.position, end), self.now_ms()))  # type: ignore[union-attr]

    def begin_flush(self) -> None:
        """Prepares scripts, if there is anything to store."""
        assert self.owner is not None
        flush = self._do(self._begin_flush)
        self.scripts = list(flush.scripts) if flush else []

    def _begin_flush(self) -> Flush | None:
        owner, now_ms = self.owner, self.now_ms()
        assert owner is not None
        for _, error in tell_together(COMPILED, [(owner, owner.untold(now_ms))], now_ms):
            raise error
        return owner.begin_flush(now_ms)

    def send(self, lose: str | None = None, again: bool = False) -> None:
        """The next script; its reply may be lost, and then it may be sent again."""
        assert self.owner is not None
        fence, script = self.owner.fence, self.scripts.pop(0)
        self.router.lose = lose
        try:
            try:
                fence.send(script)
            except StoreDown:
                if lose == "before":
                    self.late.append(script)
                if not again:
                    raise
                fence.send_again(script)
        except Failure:
            self.fail()
            return
        self.committed = max(self.committed, fences.Progress.parse(script.next).offset)
        if not self.scripts:
            self.owner.flushed()

    def check(self) -> None:
        """The look of an idle owner."""
        if self.variant.checks_idle:
            self._do(self.owner.fence.check)  # type: ignore[union-attr]

    def finish(self) -> None:
        """Goes on alone until all of the log is stored and answered for (S3)."""
        for _ in range(60):
            if self.owner is None:
                self.take_over()
            elif self.scripts:
                self.send()
            elif self.owner.position < self.world.log.end:
                self.take(3)
            else:
                self.world.sent.acknowledge()
                self.begin_flush()
                if self.owner is not None and not self.scripts:
                    self.check()
                    if self.owner is not None and not self.world.sent.waiting:
                        return

    def _do(self, step: Callable[[], Any]) -> Any:
        try:
            return step()
        except Failure:
            self.fail()
            return None


class _Kept(PartitionFence):
    """Without the rule drop_on_doubt: reads progress again and goes on under the token that it had."""

    def __init__(self, before: PartitionFence) -> None:
        super().__init__(before._client, before._tag)

    def take_over(self, start_offset: int, source: str, *, restoring: bool = False) -> fences.Takeover:
        """As if it had just taken over."""
        keys = [naming.progress_key(self._tag), naming.duplicates_key(self._tag)]
        progress, index = self._client.execute_command("MGET", *keys)  # type: ignore[no-untyped-call]
        self._stored, self._prepared = progress, fences.Progress.parse(progress)
        return fences.Takeover(self._prepared, source, index, False)


def execute_late(router: Router, script: Script) -> None:
    """A script that was on its way all the time reaches the store now; nobody reads the reply."""
    scripts.run(cast(Client, router), fences._WRITE, script.keys, script.args)


def clock() -> Callable[[], int]:
    """Later at every call, and after every event."""
    now = START_MS + 3_000_000

    def tick() -> int:
        nonlocal now
        now += 1_000
        return now

    return tick
