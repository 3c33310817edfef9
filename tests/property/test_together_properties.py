"""Partitions that share a table and are taken together are what SQL says of each (decision 12)."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from freshet.dev.oracle.log import Log
from freshet.dev.oracle.run import Reads
from freshet.engine.layout import Layout
from freshet.engine.state import apply_together
from freshet.engine.state_table import StateTable
from freshet.spec.definition import Definition
from freshet.spec.load import parse_featureset
from tests.oracle.manifests import manifests
from tests.oracle.owner import Owner, Store
from tests.oracle.traffic import SHAPES, Shape, Traffic
from tests.property.plan import check, join

PARTITIONS = 3


def part_of(log: Log, kept: list[bool]) -> Log:
    """Some records of a log, as the log of another partition: offsets have gaps."""
    at = np.flatnonzero(kept)
    return replace(
        log,
        keys=[log.keys[i] for i in at.tolist()],
        event_ids=[log.event_ids[i] for i in at.tolist()],
        fields={name: column.take(at) for name, column in log.fields.items()},
        **{name: getattr(log, name)[at] for name in ("offset", "broker_ms", "event_ms", "malformed", "erase")},
    )


class Process:
    """Owners of all partitions on one table."""

    def __init__(self, definition: Definition, logs: list[Log], rng: random.Random) -> None:
        self._definition, self._logs, self._rng = definition, logs, rng
        self._table = StateTable(definition, Layout(definition), 1)
        self._stores = [Store() for _ in logs]
        self.owners = [self._own(p) for p in range(len(logs))]

    def _own(self, partition: int) -> Owner:
        return Owner(self._definition, self._logs[partition], self._stores[partition], self._table)

    def run(self) -> None:
        """Takes all logs in, now one alone, now some together, while partitions are lost and come back."""
        while behind := [p for p, log in enumerate(self._logs) if self.owners[p].position < len(log)]:
            chosen = self._rng.sample(behind, self._rng.randint(1, len(behind)))
            stops = [min(len(self._logs[p]), self.owners[p].position + self._rng.randint(1, 40)) for p in chosen]
            owners = [self.owners[p] for p in chosen]
            admitted = [owner.admit(stop) for owner, stop in zip(owners, stops, strict=True)]
            parts = [(owner.states, a.batch, a.accepted) for owner, a in zip(owners, admitted, strict=True)]
            for owner, a, applied in zip(owners, admitted, apply_together(parts), strict=True):
                owner.applied(a, applied)
            if self._rng.random() < 0.3:
                self._trouble(self._rng.randrange(PARTITIONS))

    def _trouble(self, partition: int) -> None:
        owner, kind = self.owners[partition], self._rng.randrange(3)
        if kind < 2:
            owner.flush()
        if kind == 1:
            owner.evict([key for key in owner.store.blobs if self._rng.random() < 0.5])
        if kind == 2:  # what was not flushed is taken again
            owner.states.close()
            self.owners[partition] = self._own(partition)


@settings(max_examples=settings().max_examples // 2)
@given(manifests(), SHAPES, st.integers(0, 2**32))
def test_partitions_taken_together_are_sqls(manifest: str, shape: Shape, seed: int) -> None:
    definition = parse_featureset(manifest).definition
    traffic, rng = Traffic(definition, shape), random.Random(seed)
    whole = traffic.log()
    home = {key: rng.randrange(PARTITIONS) for key in sorted(set(whole.keys))}
    logs = [part_of(whole, [home[key] == p for key in whole.keys]) for p in range(PARTITIONS)]
    process = Process(definition, logs, rng)
    process.run()
    for log, owner in zip(logs, process.owners, strict=True):
        keys = sorted(set(log.keys))
        if keys:
            now = int(log.broker_ms.max())
            reads = Reads(keys, np.full(len(keys), log.end), np.full(len(keys), now))
            check(definition, log, reads, join([owner.read(key, now, stored=False) for key in keys]))
