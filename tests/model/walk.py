"""Random walks through the interleavings of two processors on one partition; a seed gives the same walk again."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import redis

from freshet.processor.partition import Limits, SourceChanged, SourceTruncated
from freshet.spec import naming
from tests.model.process import Died, Process, Router, Variant, clock, execute_late
from tests.model.world import KEYS, Event, Log, World, Wrong


@dataclass(frozen=True)
class Kind:
    """What may happen in a walk."""

    steps: int = 60
    events: int = 6
    keys: int = 3
    trouble: frozenset[str] = frozenset({"crash", "fall back", "late", "lost reply", "ahead"})
    """What may go wrong; also `old primary` and `expire`."""
    acknowledges: bool | None = None
    """Whether Kafka acknowledges at once; None: in some walks."""
    erases: bool = False
    """Whether some records erase their entity."""


def walk(main: redis.Redis, old: redis.Redis, seed: int, kind: Kind, variant: Variant) -> str | None:
    """What went wrong, or None."""
    main.flushdb()
    old.flushdb()
    rng = random.Random(seed)
    world = World(main, old, _log(rng, kind), f"walk{seed}", expires="expire" in kind.trouble)
    walker = _Walker(world, rng, kind, variant)
    try:
        for _ in range(kind.steps):
            walker.step()
            world.check()
        if not world.expires:
            walker.finish()
    except (Wrong, SourceChanged, SourceTruncated) as wrong:
        return str(wrong)
    return None


def _log(rng: random.Random, kind: Kind) -> Log:
    events: list[Event] = []
    for offset in range(kind.events):
        if events and rng.random() < 0.15:
            events.append(rng.choice(events))
        elif kind.erases and rng.random() < 0.25:
            events.append(Event(rng.choice(KEYS[:2]), offset, erases=True))
        else:
            key = rng.choice(KEYS[: min(kind.keys, 2 if rng.random() < 0.9 else 3)])
            events.append(Event(key, offset, rng.choice([0, 0, 0, 90_000])))
    return Log(events)


class _Walker:
    """Each walk has its own chances of everything, drawn at random: some need a quiet neighbour to be reached."""

    def __init__(self, world: World, rng: random.Random, kind: Kind, variant: Variant) -> None:
        self.world, self.rng, self.kind = world, rng, kind
        self.router = Router(world.client, world.old)
        self.copies = [world.copy(world.client)]
        self.two_primaries = "old primary" in kind.trouble
        world.sent.at_once = rng.random() < 0.6 if kind.acknowledges is None else kind.acknowledges
        limits = Limits(rng.choice([1, 1, 2]), rng.choice([1, 1000]))
        now = clock()
        self.processes = [Process(world, self.router, variant, limits, now) for _ in range(2)]
        self.batch = rng.choice([1, 2, 4])
        self.again = rng.random() < 0.5
        steps: list[tuple[Callable[[Process], None], bool]] = [
            (self._fall_back, "fall back" in kind.trouble),
            (self._late, "late" in kind.trouble),
            (self._acknowledge, not world.sent.at_once),
            (self._expire, world.expires),
            (self._crash, "crash" in kind.trouble),
            (self._ahead, "ahead" in kind.trouble),
            (self._save, "lose all" in kind.trouble),
            (self._lose_all, "lose all" in kind.trouble),
        ]
        self.trouble = [(step, rng.choice([0.2, 1, 3])) for step, possible in steps if possible]
        self.calm = rng.choice([0.5, 0.8, 0.95]) if self.trouble else 1.0
        self.losses = rng.choice([0, 0.1, 0.4]) if "lost reply" in kind.trouble else 0.0
        self.changes = rng.choice([0.5, 0.2, 0.05])
        self.process = self.processes[0]
        for process in self.processes:
            process.meanwhile = self._meanwhile
        self.nested = self.finishing = False

    def step(self) -> None:
        """One thing happens."""
        rng = self.rng
        both = self.two_primaries and self.world.progress(self.world.old) is not None
        self.router.to_old = both and rng.random() < 0.4
        if rng.random() < self.changes:
            self.process = rng.choice(self.processes)
        process = self.process
        if rng.random() < self.calm:
            self._work(process)
        else:
            steps, weights = zip(*self.trouble, strict=True)
            rng.choices(steps, weights)[0](process)
        self.router.to_old = False
        self._note()

    def _note(self) -> None:
        now = self.world.copy(self.world.client)
        if now != self.copies[-1]:
            self.copies.append(now)

    def finish(self) -> None:
        """S3: one process goes on alone. Raises Wrong."""
        self.finishing = True
        process = self.rng.choice(self.processes)
        process.finish()
        self.world.check()
        progress = self.world.progress(self.world.client)
        if progress is None or progress.offset != self.world.log.end or not progress.complete:
            raise Wrong(f"S3 a lone owner does not recover: progress is {progress}")
        self.world.require_outputs(self.world.log.end)

    # What goes right

    def _work(self, process: Process) -> None:
        if process.owner is None:
            process.take_over()
        elif process.scripts:
            lost = self.rng.random() < self.losses
            process.send(self.rng.choice(["before", "after"]) if lost else None, again=self.again)
        elif process.owner.position < self.world.log.end and self.rng.random() < 0.5:
            process.take(self.rng.randint(1, self.batch))
        elif process.owner.wants_flush():
            process.begin_flush()
        else:
            process.check()

    # What may happen at any time

    def _fall_back(self, _: Process) -> None:
        """Mostly the last few writes are lost, sometimes everything."""
        back = min(self.rng.choice([1, 1, 2, 2, 3, 4, 6, 100]), len(self.copies) - 1)
        if self.two_primaries:
            self.world.put_back(self.world.old, self.copies[-1])
        if back:
            del self.copies[-back:]
        self.world.put_back(self.world.client, self.copies[-1])

    def _late(self, process: Process) -> None:
        if process.late:
            execute_late(self.router, self.rng.choice(process.late))

    def _acknowledge(self, _: Process) -> None:
        self.world.sent.acknowledge(self.rng.randint(1, 4))

    def _expire(self, _: Process) -> None:
        self.world.client.delete(naming.entity_key(self.world.tag, self.rng.choice(KEYS)))

    def _crash(self, process: Process) -> None:
        process.crash()

    def _save(self, _: Process) -> None:
        self.world.save()

    def _lose_all(self, _: Process) -> None:
        self.world.put_back(self.world.client, {})

    def _meanwhile(self) -> None:
        """Between the scripts of a restoring: the process dies, another one takes over, the store falls back."""
        self._note()
        self.world.check()
        if self.nested or self.finishing:
            return
        chance = self.rng.random()
        self.nested = True
        try:
            if chance < 0.1:
                raise Died
            if chance < 0.2:
                self.rng.choice(self.processes).take_over()
            elif chance < 0.3:
                self._fall_back(self.process)
        finally:
            self.nested = False

    def _ahead(self, process: Process) -> None:
        """Takes events while its flush is under way, or looks at progress."""
        if process.owner is not None and process.owner.position < self.world.log.end:
            process.take(1)
        elif process.owner is not None and not process.scripts:
            process.check()
