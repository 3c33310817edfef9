"""Random walks through the interleavings of two processors on one partition; a seed gives the same walk again."""

from __future__ import annotations

import random
from dataclasses import dataclass

import redis

from freshet.processor.partition import Limits
from freshet.spec import naming
from tests.model.process import Process, Router, Variant, acknowledge, clock, execute_late
from tests.model.world import KEYS, Event, Log, World, Wrong


@dataclass(frozen=True)
class Kind:
    """What may happen in a walk."""

    steps: int = 60
    events: int = 8
    forgets: bool = True
    late: bool = True
    two_primaries: bool = False
    expires: bool = False


def walk(main: redis.Redis, old: redis.Redis, seed: int, kind: Kind, variant: Variant) -> str | None:
    """What went wrong, or None."""
    main.flushdb()
    old.flushdb()
    rng = random.Random(seed)
    world = World(main, old, _log(rng, kind), f"walk{seed}", expires=kind.expires)
    walker = _Walker(world, rng, kind, variant)
    try:
        for _ in range(kind.steps):
            walker.step()
            world.check()
        if not kind.expires:
            walker.finish()
    except Wrong as wrong:
        return str(wrong)
    return None


def _log(rng: random.Random, kind: Kind) -> Log:
    events: list[Event] = []
    for offset in range(kind.events):
        if events and rng.random() < 0.15:
            events.append(rng.choice(events))
        else:
            events.append(Event(rng.choice(KEYS[:2] if rng.random() < 0.8 else KEYS), offset, rng.choice([0, 0, 0, 90_000])))
    return Log(events)


class _Walker:
    def __init__(self, world: World, rng: random.Random, kind: Kind, variant: Variant) -> None:
        self.world, self.rng, self.kind = world, rng, kind
        self.router = Router(world.client, world.old)
        self.copies = [world.copy(world.client)]
        now = clock()
        self.processes = [
            Process(world, self.router, variant, Limits(rng.choice([1, 1, 2]), rng.choice([1, 1000])), now)
            for _ in range(2)
        ]
        # A walk that only ever moves a little at a time rarely gets anywhere.
        self.batch = rng.choice([1, 2, 4])

    def step(self) -> None:
        """One thing happens."""
        rng, kind = self.rng, self.kind
        self.router.to_old = kind.two_primaries and rng.random() < 0.3 and bool(self.world.copy(self.world.old))
        if self.router.to_old and self.world.progress(self.world.old) is None:
            self.router.to_old = False
        at = rng.random()
        if kind.forgets and at < 0.06:
            self.copies.append(self.world.copy(self.world.client))
        elif kind.forgets and at < 0.10:
            self._fall_back()
        elif kind.expires and at < 0.14:
            self.world.client.delete(naming.entity_key(self.world.tag, rng.choice(KEYS)))
        elif kind.late and at < 0.18:
            late = [script for process in self.processes for script in process.late]
            if late:
                execute_late(self.router, rng.choice(late))
        elif at < 0.28:
            acknowledge(self.world, rng.randint(1, 4))
        else:
            self._work(rng.choice(self.processes))
        self.router.to_old = False

    def finish(self) -> None:
        """S3: one process goes on alone. Raises Wrong."""
        self.router.to_old = False
        process = self.rng.choice(self.processes)
        process.finish()
        self.world.check()
        progress = self.world.progress(self.world.client)
        if progress is None or progress.offset != self.world.log.end or not progress.complete:
            raise Wrong(f"S3 a lone owner does not recover: progress is {progress}")
        self.world.require_outputs(self.world.log.end)

    def _fall_back(self) -> None:
        j = self.rng.randrange(len(self.copies))
        now = self.world.copy(self.world.client)
        if self.kind.two_primaries:
            self.world.put_back(self.world.old, now)
        self.world.put_back(self.world.client, self.copies[j])
        del self.copies[j + 1 :]

    def _work(self, process: Process) -> None:
        rng = self.rng
        if process.owner is None:
            process.take_over()
        elif rng.random() < 0.06:
            process.crash()
        elif process.scripts and rng.random() < 0.8:
            lose = rng.choice([None] * 6 + ["before", "after"]) if self.kind.late else None
            process.send(lose, again=rng.random() < 0.5)
        elif process.owner.position < self.world.log.end and rng.random() < 0.7:
            process.take(rng.randint(1, self.batch))
        elif not process.scripts and process.owner.wants_flush():
            process.begin_flush()
        elif not process.scripts:
            process.check()
