"""How a log reaches the engine: cut into which batches, flushed, crashed, replayed, evicted and reloaded when.

Whatever the plan, the answers must be those of the log.
"""

from __future__ import annotations

import functools
import random
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from freshet.dev.oracle.compare import differences, report
from freshet.dev.oracle.log import Log
from freshet.dev.oracle.run import Oracle, Reads, open_database
from freshet.engine.column import Column, Ints
from freshet.engine.reader import Vectors
from freshet.spec.definition import Definition
from tests.oracle.owner import Owner, Store

ACTIONS = ("flush", "hold back", "crash", "cut off", "replay", "evict", "reload")


@dataclass(frozen=True, slots=True)
class Plan:
    """A way through the log, made of random steps of the kinds named."""

    seed: int
    batch: int
    """The most records of a batch."""
    actions: frozenset[str]
    share: float = 0.4
    """Of steps that are actions; the others are batches."""


def plans(*actions: str) -> st.SearchStrategy[Plan]:
    """Plans with any of these actions."""
    return st.builds(
        Plan,
        seed=st.integers(0, 2**32 - 1),
        batch=st.sampled_from((1, 3, 20, 100, 1000)),
        actions=st.frozensets(st.sampled_from(actions)) if actions else st.just(frozenset()),
    )


class Run:
    """One run of a plan over a log."""

    def __init__(self, definition: Definition, log: Log, plan: Plan) -> None:
        self._definition = definition
        self._log = log
        self._plan = plan
        self._random = random.Random(plan.seed)
        self.store = Store()
        self._earlier = [self.store.progress()]
        self.owner = Owner(definition, log, self.store)

    def to(self, position: int) -> None:
        """Goes on until all records before index `position` are in memory, by however many detours."""
        crashes = 0
        while self.owner.position < position:
            if self._plan.actions and self._random.random() < self._plan.share:
                action = self._random.choice(sorted(self._plan.actions))
                crashes += action in ("crash", "cut off", "replay")
                if crashes <= 5 or action not in ("crash", "cut off", "replay"):
                    self._act(action)
            else:
                step = self._random.randint(1, self._plan.batch)
                self.owner.consume(min(self.owner.position + step, position))

    def _act(self, action: str) -> None:
        if action == "flush":
            self._flush()
        elif action == "hold back":
            self.owner.flush(hold_back=self._random.randint(1, 30))
            self._earlier.append(self.store.progress())
        elif action == "evict":
            self.owner.evict(self._some())
        elif action == "reload":
            self.owner.reload()
            self._earlier.append(self.store.progress())
        else:
            if action == "cut off":
                self.owner.flush(cut_off_after=self._random.randint(0, 5))
            elif action == "replay":
                self._flush()
                behind = [progress for progress in self._earlier if progress.offset <= self.store.offset]
                self.store.rewind(self._random.choice(behind))
            self.owner = Owner(self._definition, self._log, self.store)

    def _flush(self) -> None:
        self.owner.flush()
        self._earlier.append(self.store.progress())

    def _some(self) -> list[str]:
        return [key for key in self.store.blobs if self._random.random() < 0.5]

    def answers(self, reads: Reads) -> tuple[dict[str, Column], Ints]:
        """Values and read times of all reads, each when the log had come to its position."""
        got: list[Vectors | None] = [None] * len(reads)
        for upto in sorted(set(reads.upto.tolist())):
            self.to(int(np.searchsorted(self._log.offset, upto)))
            stored = self._random.random() < 0.5
            if stored:
                self._flush()
            for i in np.flatnonzero(reads.upto == upto).tolist():
                got[i] = self.owner.read(reads.keys[i], int(reads.now_ms[i]), stored=stored)
        return join([vectors for vectors in got if vectors is not None])


def join(vectors: list[Vectors]) -> tuple[dict[str, Column], Ints]:
    """The columns and read times of several reads as those of one."""
    columns = {
        name: Column(
            np.concatenate([v.columns[name].values for v in vectors]),
            np.concatenate([v.columns[name].mask() for v in vectors]),
        )
        for name in vectors[0].columns
    }
    return columns, np.concatenate([v.q_ms for v in vectors])


shared_database = functools.cache(open_database)
"""One database for all examples: to open one takes longer than to check a small example."""


def check(definition: Definition, log: Log, reads: Reads, *runs: tuple[dict[str, Column], Ints]) -> int:
    """Asserts that the answers of every run are what SQL says; returns how many values were compared."""
    with Oracle(definition, shared_database()) as oracle:
        expected = oracle.values(log, reads)
        for columns, q in runs:
            found = differences(oracle, reads, expected, columns, q)
            assert not found, report(found)
    return len(reads) * len(definition.features) * len(runs)
