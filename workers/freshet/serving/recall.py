"""Last recorded values, marked as stale, where the online store or a partition cannot answer (design §9).

An entity of which nothing is recorded stays a 503: a default would say that it had no events.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence

import msgspec

from freshet.engine.vectors import from_rows
from freshet.serving import measure
from freshet.serving.cache import AgingCache
from freshet.serving.catalogue import Served
from freshet.serving.documents import Block
from freshet.serving.reads import Answers
from freshet.stores.postgres import HistoryDown
from freshet.stores.snapshots import Request, Snapshot, SnapshotReader

RECALLABLE = frozenset(("store_down", "partition_incomplete", "partition_without_progress", "state_unreadable"))
"""Problems that say nothing about the entity itself."""

KEEP_MS = 1000
"""How long it is remembered what was recorded, or that nothing was: many ask for the same entities while a store is
down, and the database must not get all of its load."""
_KEEP_ENTRIES = 20_000

_log = logging.getLogger(__name__)
_decode = msgspec.json.Decoder(dict[str, float | int | bool | str | None]).decode


class Recall:
    """Turns problems into recorded values."""

    def __init__(self, snapshots: SnapshotReader) -> None:
        self._snapshots = snapshots
        self._cache: AgingCache[Snapshot | None] = AgingCache(KEEP_MS, _KEEP_ENTRIES)

    async def recall(self, answers: Mapping[Served, Answers]) -> None:
        """Gives a row to each key whose problem is recallable and of which there is a snapshot.

        The problems of the others say both what is wrong and why there is no recorded value either.
        """
        wanted = {
            served: [key for key, problem in found.problems.items() if problem.code in RECALLABLE]
            for served, found in answers.items()
        }
        if not any(wanted.values()):
            return
        snapshots, down = await self._recorded(wanted)
        for served, mine in wanted.items():
            found = answers[served]
            _take(served, found, [(key, one) for key in mine if (one := snapshots.get((served, key))) is not None])
            for key in mine:
                if key in found.problems:
                    unknown = down and (served, key) not in snapshots
                    why = "the history database does not answer either" if unknown else "no values of it are recorded"
                    problem = found.problems[key]
                    found.problems[key] = dataclasses.replace(problem, message=f"{problem.message}; {why}")

    async def _recorded(
        self, wanted: Mapping[Served, Sequence[str]]
    ) -> tuple[dict[tuple[Served, str], Snapshot | None], bool]:
        """What is recorded of each, as far as it is known; and whether the database could not be asked."""
        asked = self._cache.now()
        known: dict[tuple[Served, str], Snapshot | None] = {}
        missing = []
        for served, keys in wanted.items():
            found, others = self._cache.get_all(served, keys, asked)
            known.update(((served, key), snapshot) for key, snapshot in found.items())
            missing += [(served, key) for key in others]
        if not missing:
            return known, False
        requests = [Request(key, served.name, served.definition.revision) for served, key in missing]
        try:
            fetched = await self._snapshots.fetch(requests)
        except HistoryDown:
            return known, True
        new = list(zip(missing, fetched, strict=True))
        self._cache.put_all(new, asked)
        known.update(new)
        return known, False


def _take(served: Served, answers: Answers, found: Sequence[tuple[str, Snapshot]]) -> None:
    """Makes rows of snapshots: one vector; where one cannot be used, halves down to it."""
    if not found:
        return
    try:
        rows = [_decode(snapshot.features) for _, snapshot in found]
        times, offsets = [one.as_of_ms for _, one in found], [one.offset for _, one in found]
        vectors = from_rows(rows, served.definition, times, offsets)
    except (msgspec.DecodeError, ValueError) as error:
        if len(found) == 1:
            # Equal revisions have equal features, so this row was not written by a processor.
            _log.error("a recorded vector cannot be used", extra={"featureset": served.name, "error": str(error)})
            return
        half = len(found) // 2
        _take(served, answers, found[:half])
        _take(served, answers, found[half:])
        return
    block = Block(vectors, stale=True)
    for row, (key, _) in enumerate(found):
        answers.rows[key] = (block, row)
        measure.stale(served.name, answers.problems.pop(key).code)
