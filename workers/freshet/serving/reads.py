"""From entity keys to feature vectors: cache, one store round trip, one engine call for each FeatureSet.

Calls whose states are there in the same turn of the event loop are computed together: most of what a computation
costs, it costs however few entities it is of. Calls that wait at the same time share the round trip to the store
(`freshet.stores.reader`) and so come to have their states in the same turn.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat

from freshet.engine.layout import LayoutError
from freshet.runtime.clock import now_ms
from freshet.serving import measure
from freshet.serving.cache import AgingCache, State
from freshet.serving.catalogue import Served, incomplete
from freshet.serving.documents import Block
from freshet.serving.problems import Problem, unavailable
from freshet.stores.reader import Fetched, OnlineReader, Request
from freshet.stores.redis import StoreDown

_STORE_DOWN = unavailable("store_down", "the online store does not answer: try again shortly")


@dataclass(slots=True)
class Answers:
    """Where the values of some entities of one FeatureSet are, and why others have none."""

    rows: dict[str, tuple[Block, int]] = field(default_factory=dict)
    """key → its row of a block. Nearly always one block; more after a damaged state or with recorded values."""
    problems: dict[str, Problem] = field(default_factory=dict)


_MANY = 32
"""Entities of a call from which on it is worth to look whether others are about to be ready."""
_TURNS = 4
"""Of the event loop, that such a call lets pass first: about as many as it takes from a reply of the store that lies in
the socket until its caller has the states. Nothing is waited for: a turn without work is some microseconds."""

States = dict[Served, dict[str, State]]


class Reads:
    """Reads of any number of entities at once."""

    def __init__(
        self,
        store: OnlineReader,
        cache: AgingCache[State],
        *,
        cluster: bool = False,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        """`cluster`: the store has shards that fail one by one. `clock` gives the read time in ms since 1970."""
        self._store = store
        self._cache = cache
        self._cluster = cluster
        self._clock = clock
        self._ready: list[tuple[States, asyncio.Future[dict[Served, Answers]]]] = []

    async def read(self, wanted: Mapping[Served, Sequence[str]]) -> dict[Served, Answers]:
        """Answers for distinct keys of each FeatureSet; a store that is down is a problem of its keys."""
        answers = {served: Answers() for served in wanted}
        states = await self._states(wanted, answers)
        computed = await self._together(states)
        for served, known in states.items():
            found, mine = computed[served], answers[served]
            if found.problems:
                mine.problems.update((key, found.problems[key]) for key in known if key in found.problems)
                mine.rows = {key: found.rows[key] for key in known if key in found.rows}
            else:
                mine.rows = {key: found.rows[key] for key in known}
        return answers

    def _together(self, states: States) -> asyncio.Future[dict[Served, Answers]]:
        """What is computed of these states, and of those of all other calls that are ready in this turn."""
        loop = asyncio.get_running_loop()
        if not self._ready:
            many = sum(map(len, states.values())) >= _MANY
            self._compute_after(_TURNS if many else 0, loop)
        done: asyncio.Future[dict[Served, Answers]] = loop.create_future()
        self._ready.append((states, done))
        return done

    def _compute_after(self, turns: int, loop: asyncio.AbstractEventLoop) -> None:
        if turns:
            loop.call_soon(self._compute_after, turns - 1, loop)
        else:
            loop.call_soon(self._compute_ready)

    def _compute_ready(self) -> None:
        ready, self._ready = self._ready, []
        merged: States = {}
        for states, _ in ready:
            for served, known in states.items():
                merged.setdefault(served, {}).update(known)
        computed = {served: Answers() for served in merged}
        failure = None
        try:
            now_ms = self._clock()
            for served, known in merged.items():
                if known:
                    self._compute(served, list(known), list(known.values()), now_ms, computed[served])
        except Exception as error:  # whatever it is, the callers get it
            failure = error
        for _, done in ready:
            if done.done():  # its caller was cancelled
                continue
            if failure is None:
                done.set_result(computed)
            else:
                done.set_exception(failure)

    async def _states(self, wanted: Mapping[Served, Sequence[str]], answers: dict[Served, Answers]) -> States:
        asked = self._cache.now()
        states: States = {}
        missing: list[tuple[Served, str]] = []
        for served, keys in wanted.items():
            states[served], others = self._cache.get_all(served, keys, asked)
            missing += [(served, key) for key in others]
            measure.cache(served.name, len(keys) - len(others), len(others))
        if missing:
            await self._fetch(missing, states, answers, asked)
        return states

    async def _fetch(
        self,
        missing: Sequence[tuple[Served, str]],
        states: States,
        answers: dict[Served, Answers],
        asked: float,
    ) -> None:
        partitions = [served.partition(key) for served, key in missing]
        requests = [(served.tags[p], key) for (served, key), p in zip(missing, partitions, strict=True)]
        good: list[tuple[tuple[Served, str], State]] = []
        for place, partition, found in zip(missing, partitions, await self._ask(requests), strict=True):
            served, key = place
            if found is None:
                answers[served].problems[key] = _STORE_DOWN
            elif not found.complete:
                answers[served].problems[key] = incomplete(served, partition, found.started)
            else:
                states[served][key] = found.blob
                good.append((place, found.blob))
        self._cache.put_all(good, asked)  # never a problem: that is asked about again each time

    async def _ask(self, requests: Sequence[Request]) -> Sequence[Fetched | None]:
        """What the store says to each; None where it is down."""
        if not self._cluster:
            return await self._ask_one(requests)
        # A lost shard fails the partitions on it and no others.
        groups: dict[str, list[int]] = {}
        for index, (tag, _) in enumerate(requests):
            groups.setdefault(tag, []).append(index)
        asked = [self._ask_one([requests[index] for index in group]) for group in groups.values()]
        found: dict[int, Fetched | None] = {}
        for group, reply in zip(groups.values(), await asyncio.gather(*asked), strict=True):
            found.update(zip(group, reply, strict=True))
        return [found[index] for index in range(len(requests))]

    async def _ask_one(self, requests: Sequence[Request]) -> Sequence[Fetched | None]:
        try:
            return await self._store.fetch(requests)
        except StoreDown:
            return [None] * len(requests)

    def _compute(self, served: Served, keys: list[str], blobs: list[State], now_ms: int, answers: Answers) -> None:
        """One vector; where a state is not readable, halves down to it, so that it spoils no other's answer."""
        started = time.perf_counter()
        try:
            vectors = served.reader.read(keys, blobs, now_ms)
        except LayoutError as error:
            if len(keys) == 1:
                message = (
                    f"the stored state of this entity is not one of revision {served.definition.revision}: {error}"
                )
                answers.problems[keys[0]] = unavailable("state_unreadable", message)
                return
            half = len(keys) // 2
            self._compute(served, keys[:half], blobs[:half], now_ms, answers)
            self._compute(served, keys[half:], blobs[half:], now_ms, answers)
            return
        measure.computed(served.name, time.perf_counter() - started, vectors.nulls)
        block = Block(vectors)
        answers.rows.update(zip(keys, zip(repeat(block), range(len(keys))), strict=True))
