"""Reading a request's body with bounds on size, time, and on the memory of all bodies together."""

from __future__ import annotations

import asyncio

from freshet.ingest.problems import Problem, busy
from freshet.runtime.web import Receive, body_part

MAX_BODY_BYTES = 10 << 20
"""Largest body."""


class Bodies:
    """Bodies of all requests in progress."""

    def __init__(self, memory_bytes: int, timeout_seconds: float) -> None:
        self._left = memory_bytes
        self._timeout = timeout_seconds

    def claim(self, headers: dict[bytes, bytes]) -> Claim:
        """Room for one body; to be released. Raises Problem (400, 413, 429) for what its headers say."""
        declared = headers.get(b"content-length", b"")
        if declared and not declared.isdigit():
            raise Problem(400, "bad_request", "the Content-Length is not a number")
        size = int(declared) if declared else 0
        if size > MAX_BODY_BYTES:
            raise too_large()
        claim = Claim(self)
        claim.grow(size)
        return claim

    def take(self, size: int) -> None:
        """Takes bytes from the budget. Raises Problem (429)."""
        if size > self._left:
            raise busy("the bodies of other requests use the memory that is given to them; send again in a moment")
        self._left -= size

    def give_back(self, size: int) -> None:
        """Puts bytes back."""
        self._left += size

    async def read(self, receive: Receive, claim: Claim) -> bytes:
        """The whole body. Raises Problem (408, 413, 429) or Disconnected."""
        chunks: list[bytes] = []
        size, more = 0, True
        try:
            async with asyncio.timeout(self._timeout):
                while more:
                    chunk, more = await body_part(receive)
                    size += len(chunk)
                    if size > MAX_BODY_BYTES:
                        raise too_large()
                    claim.grow(size)
                    chunks.append(chunk)
        except TimeoutError:
            sentence = f"the body did not come within {self._timeout:g} s"
            raise Problem(408, "body_timeout", sentence) from None
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)


class Claim:
    """The part of the budget that one request holds."""

    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies
        self._size = 0

    def grow(self, size: int) -> None:
        """Makes it at least `size` bytes. Raises Problem (429)."""
        if size > self._size:
            self._bodies.take(size - self._size)
            self._size = size

    def release(self) -> None:
        """Gives everything back."""
        self._bodies.give_back(self._size)
        self._size = 0


def too_large() -> Problem:
    """The body is above the limit."""
    message = f"the body is larger than {MAX_BODY_BYTES} bytes; send fewer events at a time"
    return Problem(413, "body_too_large", message)
