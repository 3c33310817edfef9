"""Entity keys as requests give them."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import unquote_to_bytes

from freshet.serving.problems import Problem, invalid

MAX_KEY_BYTES = 512
"""UTF-8 bytes, as for events: a longer key cannot have any."""


def from_path(segment: bytes) -> str:
    """One percent-encoded segment of a path. Raises Problem (400)."""
    try:
        text = (unquote_to_bytes(segment) if b"%" in segment else segment).decode()
    except UnicodeDecodeError:
        raise invalid("bad_path", "the path is not percent-encoded UTF-8") from None
    return text


def checked(key: str) -> str:
    """The key itself. Raises Problem (400) for one that no event can have."""
    if not key:
        raise invalid("bad_key", "the entity key is empty; give one of 1 to 512 bytes")
    if len(key) > MAX_KEY_BYTES // 4 and len(key.encode()) > MAX_KEY_BYTES:
        raise invalid("bad_key", f"the entity key has {len(key.encode())} bytes of UTF-8; at most 512 are allowed")
    if "\0" in key:
        raise invalid("bad_key", "the entity key has a NUL character, which no event's key may have")
    return key


def all_from_json(values: Sequence[object], where: str) -> list[str]:
    """The keys of a list. Raises Problem (400)."""
    try:
        return [_key(value) for value in values]
    except Problem:  # which one it is, is asked only now: names for all of them cost more than the check
        return [from_json(value, f"{where}[{index}]") for index, value in enumerate(values)]


def from_json(value: object, where: str) -> str:
    """A key of a body: a string, or an integer, which is its decimal text. Raises Problem (400)."""
    try:
        return _key(value)
    except Problem as problem:
        raise invalid(problem.code, f"{where}: {problem.message}") from None


def _key(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise invalid("bad_key", "an entity key is a string or an integer")
    return checked(str(value))
