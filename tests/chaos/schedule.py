"""Faults over time: drawn from a seed, so that a run can be had again; each in steps, so that several overlap."""

from __future__ import annotations

import heapq
import itertools
import random
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from tests.chaos.world import World

Steps = Generator[float, None, str | None]
"""What a fault does: each value is how many seconds later it goes on. May return what is worth telling."""
_LONGEST_SECONDS = 240.0


class NotMet(Exception):
    """The moment that a fault waited for never came; everything is mended."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of bad day."""

    name: str
    target: str
    """Of two faults with one target the second waits until the first is over."""
    steps: Callable[[World, random.Random], Steps]
    """Does the damage and mends it."""


@dataclass(slots=True)
class Applied:
    """A fault that happened."""

    fault: Fault
    began: float
    """Seconds since 1970."""
    ended: float = 0.0
    told: str | None = None
    met: bool = True
    """False: it did not come to pass."""

    def __str__(self) -> str:
        took = f"{self.ended - self.began:.1f} s" if self.ended else "not over"
        return f"{self.fault.name} ({took}{': ' + self.told if self.told else ''})"


class Deck:
    """Draws faults so that each comes as often as any other: a shuffled deck, then the next."""

    def __init__(self, faults: Sequence[Fault], rng: random.Random) -> None:
        self._faults, self._rng = list(faults), rng
        self._left: list[Fault] = []

    def draw(self, count: int) -> list[Fault]:
        """The next ones."""
        return [self._next() for _ in range(count)]

    def _next(self) -> Fault:
        if not self._left:
            self._left = self._rng.sample(self._faults, len(self._faults))
        return self._left.pop()


def apply(
    world: World, faults: Sequence[Fault], rng: random.Random, tell: Callable[[str], None], done: list[Applied]
) -> None:
    """Applies the faults in this order, a random moment apart, until the last is over; each is added to `done`.

    One that did not come to pass gets a second try.
    """
    order = itertools.count()
    waiting, again = list(faults), list[Fault]()
    running: list[tuple[float, int, Applied, Steps]] = []
    next_at = time.monotonic() + rng.uniform(1.0, 3.0)
    last = time.monotonic()
    while waiting or running:
        now = time.monotonic()
        busy = {applied.fault.target for _, _, applied, _ in running}
        if waiting and now >= next_at and (found := _free(waiting, busy)) is not None:
            applied = Applied(found, time.time())
            done.append(applied)
            tell(f"  {found.name}")
            heapq.heappush(running, (now, next(order), applied, found.steps(world, random.Random(rng.random()))))
            next_at, last = now + rng.uniform(0.3, 2.2), now
        while running and running[0][0] <= now:
            _, _, applied, steps = heapq.heappop(running)
            try:
                heapq.heappush(running, (now + next(steps), next(order), applied, steps))
            except StopIteration as end:
                applied.ended, applied.told = time.time(), end.value
                last = now
            except NotMet as error:
                applied.ended, applied.told, applied.met = time.time(), str(error), False
                last = now
                if applied.fault not in again:
                    again.append(applied.fault)
                    waiting.append(applied.fault)
        world.tend()
        assert now - last < _LONGEST_SECONDS, f"never over: {[str(a) for _, _, a, _ in running]}"
        time.sleep(0.05)


def _free(waiting: list[Fault], busy: set[str]) -> Fault | None:
    """Takes the first fault whose target nothing happens to at the moment."""
    for i, fault in enumerate(waiting):
        if fault.target not in busy:
            return waiting.pop(i)
    return None
