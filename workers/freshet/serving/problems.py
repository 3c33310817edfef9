"""What goes wrong with a request, as one exception that knows its answer.

Every refusal of the serving API is a `Problem`: a status, a stable code for programs, a sentence for people,
and what to try instead. Nothing else leaves a request, so no user's mistake becomes a 500.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

RETRY_AFTER_SECONDS = 1
"""What a 503 advises: stores and processors come back by themselves within about a second."""


@dataclass(eq=False)
class Problem(Exception):
    """A request, or one entity of a batch, that cannot be answered."""

    status: int
    code: str
    """Stable, in snake_case: what a program may branch on."""
    message: str
    did_you_mean: tuple[str, ...] = ()
    allow: str = ""
    """Methods for the Allow header of a 405."""

    def __post_init__(self) -> None:
        super().__init__(self.message)

    def error(self) -> dict[str, object]:
        """The `error` object of an answer."""
        found: dict[str, object] = {"code": self.code, "message": self.message}
        if self.did_you_mean:
            found["did_you_mean"] = list(self.did_you_mean)
        return found

    def body(self) -> bytes:
        return msgspec.json.encode({"error": self.error()})

    def headers(self) -> dict[str, str]:
        """Headers beside the content type."""
        found = {}
        if self.status == 503:
            found["retry-after"] = str(RETRY_AFTER_SECONDS)
        if self.status == 408:
            found["connection"] = "close"  # what is still to come of the body is no further request
        if self.allow:
            found["allow"] = self.allow
        return found


def near(given: str, known: Iterable[str], most: int = 3) -> tuple[str, ...]:
    """Up to `most` of the known names that look like the given one, best first."""
    names = {name.lower(): name for name in known}
    return tuple(names[name] for name in difflib.get_close_matches(given[:200].lower(), names, most, 0.5))


def unknown(what: str, given: str, known: Iterable[str], where: str = "") -> Problem:
    """A 404 for a name that does not exist; `what` is a noun such as `feature`."""
    names = list(known)
    close = near(given, names)
    hint = f"; did you mean {' or '.join(repr(name) for name in close)}?" if close else ""
    if not close and 0 < len(names) <= 10:
        hint = f"; there is {', '.join(repr(name) for name in names)}"
    code = f"unknown_{what.lower().replace(' ', '_')}"
    return Problem(404, code, f"no {what} {shown(given)}{where}{hint}", close)


def invalid(code: str, message: str) -> Problem:
    """A 400: the request says something that no request may say."""
    return Problem(400, code, message)


def unavailable(code: str, message: str) -> Problem:
    """A 503 with Retry-After."""
    return Problem(503, code, message)


def unexpected() -> Problem:
    """Our own mistake. It is logged where it is caught; a client may try again, as nothing depends on one request."""
    return unavailable("unexpected", "the request met an unexpected condition, which is logged: try again")


def shown(given: str) -> str:
    """A user's text, quoted and cut to a length that fits an error."""
    return repr(given if len(given) <= 80 else given[:77] + "…")
