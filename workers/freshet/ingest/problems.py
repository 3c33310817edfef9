"""What goes wrong with a whole request, as one exception that knows its answer."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

import msgspec


class Problem(Exception):
    """A request that was not, or not wholly, taken."""

    def __init__(self, status: int, code: str, message: str, retry_after: int | None = None, **more: Any) -> None:
        """`code` is for programs, `message` for people, `retry_after` is in seconds; `more` goes beside the error."""
        super().__init__(message)
        self.status = status
        self._more = more
        self._error = {"code": code, "message": message}
        self.headers = [(b"retry-after", b"%d" % retry_after)] if retry_after is not None else []

    def body(self) -> bytes:
        """The answer as JSON."""
        return msgspec.json.encode({"error": self._error, **self._more})


def unavailable(code: str, message: str, **more: Any) -> Problem:
    """503: nothing is wrong with the request, it can be sent again in a moment."""
    return Problem(503, code, message, retry_after=2, **more)


def busy(message: str) -> Problem:
    """429: more is under way than memory is given to."""
    return Problem(429, "too_many_requests", message, retry_after=1)


def unknown(what: str, given: str, known: Iterable[str]) -> Problem:
    """404 for a name that does not exist, with those that look like it."""
    names = sorted(known)
    near = difflib.get_close_matches(given[:200], names, 3, 0.6) or names[:10]
    shown = given if len(given) <= 80 else given[:77] + "…"
    return Problem(404, f"unknown_{what.lower()}", f'there is no {what} "{shown}" here; there is {", ".join(near)}')
