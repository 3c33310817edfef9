"""Request bodies: read up to a limit, decoded as JSON whatever their Content-Type says."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from freshet.runtime.web import Disconnected, Receive, body_part
from freshet.serving.problems import Problem, invalid

MAX_BODY_BYTES = 2 * 1024 * 1024
"""A thousand keys of full length and a long list of features fit several times."""

BODY_SECONDS = 30.0
"""Until a body is complete: a client that never ends it holds what has come of it in memory."""


async def read(receive: Receive) -> bytes:
    """The whole body. Raises Problem: 413 as soon as it is known to be too large, 408 for one that does not end."""
    found = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            more = True
            while more:
                part, more = await body_part(receive)
                found += part
                if len(found) > MAX_BODY_BYTES:
                    message = f"the body is larger than {MAX_BODY_BYTES} bytes; ask for fewer entities at a time"
                    raise Problem(413, "body_too_large", message)
    except TimeoutError:
        raise Problem(408, "body_timeout", f"the body did not come within {BODY_SECONDS:g} s") from None
    except Disconnected:
        raise invalid("client_gone", "the connection was closed before the body was complete") from None
    return bytes(found)


def decode(body: bytes) -> dict[str, Any]:
    """A JSON object. Raises Problem (400)."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid("bad_json", f"the body is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise invalid("bad_json", "the body must be a JSON object")
    return found
