"""From entity keys to feature vectors: cache, one store round trip, one engine call for each FeatureSet."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from freshet.engine.layout import LayoutError
from freshet.engine.reader import Vectors
from freshet.runtime.clock import now_ms
from freshet.serving import measure
from freshet.serving.cache import AgingCache, State
from freshet.serving.catalogue import Served, incomplete
from freshet.serving.problems import Problem, unavailable
from freshet.stores.reader import Fetched, OnlineReader, Request
from freshet.stores.redis import StoreDown

_STORE_DOWN = unavailable("store_down", "the online store does not answer: try again shortly")


@dataclass(slots=True)
class Answers:
    """Vectors of some entities of one FeatureSet, and why others have none."""

    vectors: list[Vectors] = field(default_factory=list)
    rows: dict[str, tuple[int, int]] = field(default_factory=dict)
    """key → (index into `vectors`, row). Nearly always one vector; more only after a damaged state."""
    problems: dict[str, Problem] = field(default_factory=dict)
    stale: set[int] = field(default_factory=set)
    """Which of `vectors` are recorded ones, see `recall`."""

    def is_stale(self, key: str) -> bool:
        """Whether the values of an entity that has some are recorded ones."""
        return bool(self.stale) and self.rows[key][0] in self.stale


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

    async def read(self, wanted: Mapping[Served, Sequence[str]]) -> dict[Served, Answers]:
        """Answers for distinct keys of each FeatureSet; a store that is down is a problem of its keys."""
        answers = {served: Answers() for served in wanted}
        states = await self._states(wanted, answers)
        now_ms = self._clock()
        for served, known in states.items():
            if known:
                self._compute(served, list(known), list(known.values()), now_ms, answers[served])
        return answers

    async def _states(
        self, wanted: Mapping[Served, Sequence[str]], answers: dict[Served, Answers]
    ) -> dict[Served, dict[str, State]]:
        asked = self._cache.now()
        states: dict[Served, dict[str, State]] = {served: {} for served in wanted}
        missing: list[tuple[Served, str]] = []
        for served, keys in wanted.items():
            before = len(missing)
            for key in keys:
                found = self._cache.get((served, key), asked)
                if found is None:
                    missing.append((served, key))
                else:
                    states[served][key] = found[0]
            misses = len(missing) - before
            measure.cache(served.name, len(keys) - misses, misses)
        if missing:
            await self._fetch(missing, states, answers, asked)
        return states

    async def _fetch(
        self,
        missing: Sequence[tuple[Served, str]],
        states: dict[Served, dict[str, State]],
        answers: dict[Served, Answers],
        asked: float,
    ) -> None:
        partitions = [served.partition(key) for served, key in missing]
        requests = [(served.tags[p], key) for (served, key), p in zip(missing, partitions, strict=True)]
        for place, partition, found in zip(missing, partitions, await self._ask(requests), strict=True):
            served, key = place
            if isinstance(found, StoreDown):
                answers[served].problems[key] = _STORE_DOWN
            elif not found.complete:
                answers[served].problems[key] = incomplete(served, partition, found.started)
            else:
                states[served][key] = found.blob
                self._cache.put(place, found.blob, asked)  # never a problem: that is asked about again each time

    async def _ask(self, requests: Sequence[Request]) -> list[Fetched | StoreDown]:
        """What the store says to each. In a cluster a lost shard fails the partitions on it and no others."""
        groups: dict[str, list[int]] = {}
        for index, (tag, _) in enumerate(requests):
            groups.setdefault(tag if self._cluster else "", []).append(index)
        asked = [self._store.fetch([requests[index] for index in group]) for group in groups.values()]
        replies = await asyncio.gather(*asked, return_exceptions=True)
        found: dict[int, Fetched | StoreDown] = {}
        for group, reply in zip(groups.values(), replies, strict=True):
            if isinstance(reply, StoreDown):
                found.update((index, reply) for index in group)
            elif isinstance(reply, BaseException):
                raise reply
            else:
                found.update(zip(group, reply, strict=True))
        return [found[index] for index in range(len(requests))]

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
        index = len(answers.vectors)
        answers.vectors.append(vectors)
        answers.rows.update((key, (index, row)) for row, key in enumerate(keys))
