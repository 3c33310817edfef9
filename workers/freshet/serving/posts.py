"""The routes that are asked with a body: many entities at once, in our form and in Feast's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from freshet.runtime.web import Receive
from freshet.serving import batch, bodies, feast
from freshet.serving.current import Current
from freshet.serving.problems import Problem
from freshet.serving.reads import Reads
from freshet.serving.recall import Recall


class Reply(NamedTuple):
    """A JSON answer."""

    body: bytes
    status: int = 200
    headers: dict[str, str] | None = None
    """Beside the content's type and length."""


class Posts:
    """Answers of both routes."""

    def __init__(self, current: Current, reads: Reads, recall: Recall | None) -> None:
        """`recall`: recorded values, if there is a history."""
        self._current = current
        self._reads = reads
        self._recall = recall
        self.routes: dict[str, Callable[[Receive], Awaitable[Reply]]] = {
            "/features:batch": self._batch,
            "/get-online-features": self._feast,
        }
        """By path; each is given what the body comes from, and raises Problem."""

    async def _batch(self, receive: Receive) -> Reply:
        asked = batch.parse(bodies.decode(await bodies.read(receive)), self._current.snapshot.selector)
        return Reply(await batch.answer(asked, self._reads, self._recall))

    async def _feast(self, receive: Receive) -> Reply:
        try:
            body = _feast_object(await bodies.read(receive))
            asked = feast.parse(body, self._current.snapshot.catalogue)
            return Reply(await feast.answer(asked, self._reads, self._recall))
        except feast.Invalid as error:
            return Reply(error.body(), 422)
        except Problem as problem:
            return Reply(feast.problem_body(problem), problem.status, problem.headers())


def _feast_object(body: bytes) -> dict[str, Any]:
    try:
        return bodies.decode(body)
    except Problem as problem:
        raise feast.Invalid([], problem.message) from None
