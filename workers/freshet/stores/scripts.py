"""Lua scripts of the store and how they are run: by hash, and by text when the server does not have them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from redis.exceptions import NoScriptError, OutOfMemoryError

from freshet.stores.redis import Client, Failures, StoreDown, describe, execute


class StoreFull(Exception):
    """The store has no memory left. Nothing of the script was written."""


@dataclass(frozen=True, slots=True)
class Lua:
    """The text of a script and its hash."""

    text: bytes
    sha: str

    @classmethod
    def of(cls, text: bytes) -> Lua:
        """Names a text by the hash that EVALSHA takes."""
        return cls(text, hashlib.sha1(text, usedforsecurity=False).hexdigest())


def load(name: str) -> Lua:
    """A script of this package."""
    return Lua.of(resources.files(__package__).joinpath(f"{name}.lua").read_bytes())


def run(client: Client, lua: Lua, keys: Sequence[str], args: Sequence[bytes | int]) -> Any:
    """Executes a script at most once. Raises StoreFull or StoreDown.

    NOSCRIPT means that nothing was executed, so the text may follow; it stays in the server's cache.
    """
    try:
        try:
            return execute(client, "EVALSHA", lua.sha, len(keys), *keys, *args)
        except NoScriptError:
            return execute(client, "EVAL", lua.text, len(keys), *keys, *args)
    except OutOfMemoryError as error:
        raise StoreFull("the store is full: give it more memory") from error
    except Failures as error:
        raise StoreDown(describe(error)) from error
