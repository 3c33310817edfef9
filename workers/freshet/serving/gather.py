"""Concurrent requests become one read (design §7, §9).

Requests of one turn of the event loop, and all that arrive while a read is under way, form the next read. There
is no timer: a lone request waits for nobody. Requests that only a recorded value can answer leave the read that they
came with: waiting for the history database, they hold up no other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from freshet.serving.catalogue import Served
from freshet.serving.documents import Documents, single_document
from freshet.serving.problems import Problem, unavailable
from freshet.serving.reads import Answers, Reads
from freshet.serving.recall import RECALLABLE, Recall
from freshet.serving.selection import Selection

MAX_GATHERED = 1000
"""Requests of one read; a longer queue is read in several rounds, so that the first need not wait for the last."""

_ENDED = unavailable("store_down", "the read was ended: try again shortly")


@dataclass(slots=True, eq=False)
class _Waiting:
    selection: Selection
    key: str
    single: bool
    """Whether the answer is one feature's document."""
    done: asyncio.Future[bytes]


class Gatherer:
    """Answers single-entity requests together."""

    def __init__(self, reads: Reads, recall: Recall | None = None) -> None:
        self._reads = reads
        self._recall = recall
        self._recalls: set[asyncio.Task[None]] = set()
        self._waiting: list[_Waiting] = []
        self._task: asyncio.Task[None] | None = None

    def answer(self, selection: Selection, key: str, single: bool) -> asyncio.Future[bytes]:
        """The JSON document of an entity. The future raises Problem."""
        done: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(selection, key, single, done))
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._drain())
        return done

    async def _drain(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:MAX_GATHERED], self._waiting[MAX_GATHERED:]
                await self._answer(batch)
        finally:
            self._task = None
            _fail(self._waiting, _ENDED)  # none are left but where this task was ended
            self._waiting = []

    async def _answer(self, batch: list[_Waiting]) -> None:
        """Sets every future of the batch, whatever happens, or leaves it to a task that does."""
        try:
            answers = await self._reads.read(_wanted(batch))
            later = _render(batch, answers, RECALLABLE if self._recall else frozenset())
        except Exception as error:
            _fail(batch, error)
            return
        except BaseException:
            _fail(batch, _ENDED)
            raise
        if later:
            task = asyncio.get_running_loop().create_task(self._answer_stale(later, answers))
            self._recalls.add(task)
            task.add_done_callback(self._recalls.discard)

    async def _answer_stale(self, batch: list[_Waiting], answers: dict[Served, Answers]) -> None:
        assert self._recall is not None
        try:
            await self._recall.recall(answers)
            _render(batch, answers, frozenset())
        except Exception as error:
            _fail(batch, error)
        except BaseException:
            _fail(batch, _ENDED)
            raise


def _render(batch: list[_Waiting], answers: dict[Served, Answers], but: frozenset[str]) -> list[_Waiting]:
    """Answers all but those whose problem has one of the codes in `but`: they are returned."""
    later = []
    for waiting in batch:
        if waiting.done.done():
            continue  # its client has gone
        try:
            waiting.done.set_result(_document(waiting, answers))
        except Problem as problem:
            if problem.code in but:
                later.append(waiting)
            else:
                waiting.done.set_exception(problem)
    return later


def _fail(batch: list[_Waiting], error: Exception) -> None:
    for waiting in batch:
        if not waiting.done.done():
            waiting.done.set_exception(error)


def _document(waiting: _Waiting, answers: dict[Served, Answers]) -> bytes:
    """Raises Problem if one of the entity's FeatureSets cannot answer."""
    selection, key = waiting.selection, waiting.key
    places = []
    for part in selection.parts:
        found = answers[part.served]
        problem = found.problems.get(key)
        if problem is not None:
            raise problem
        places.append(found.rows[key])
    if waiting.single:
        block, row = places[0]
        return single_document(selection.key, key, block.texts(selection.parts[0]).single(row, selection.bounds))
    documents = Documents(selection)
    documents.add(key, places)
    return documents.text()


def _wanted(batch: Sequence[_Waiting]) -> dict[Served, list[str]]:
    """The distinct keys that a batch needs of each FeatureSet."""
    found: dict[Served, dict[str, None]] = {}
    for waiting in batch:
        for part in waiting.selection.parts:
            found.setdefault(part.served, {})[waiting.key] = None
    return {served: list(keys) for served, keys in found.items()}
