"""What becomes of a record when its topic is keyed anew by an entity: the pure part of `freshet rekey` (decision 11).

Nothing is judged twice. What names the entity goes on under its key; what names none is no event of this entity; and
what cannot be read goes on as it is, so that processors refuse it with their own words.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import msgspec

from freshet.engine.control import Headers, is_marked, mark_of
from freshet.engine.decode import is_plain, key_problem
from freshet.engine.examine import Examiner
from freshet.engine.rejection import Reason, Refusal
from freshet.engine.shape import Leaf, Shape


class Fate(StrEnum):
    """What becomes of a record; the values are those of metric labels."""

    KEYED = "keyed"
    """It is copied with the entity's key."""
    UNREADABLE = "unreadable"
    """It is copied with the key that it had: processors will refuse it."""
    ABSENT = "absent"
    """It names no such entity and is left out."""
    CONTROL = "control"
    """It speaks of FeatureSets of the topic itself (an erasure, a replayed dead letter) and is left out."""


@dataclass(frozen=True, slots=True)
class Rekeyed:
    """One record's fate."""

    fate: Fate
    key: bytes | None
    """Of the copy, if there is one; None where the record itself had none."""

    @property
    def copied(self) -> bool:
        """Whether the record is written at all."""
        return self.fate in (Fate.KEYED, Fate.UNREADABLE)


_ABSENT = Rekeyed(Fate.ABSENT, None)
_CONTROL = Rekeyed(Fate.CONTROL, None)


class KeyReader:
    """Reads one entity's key out of events, by the same rules as `freshet.engine.decode`."""

    def __init__(self, field: str) -> None:
        """`field`: the event field at the top of an event that names the entity."""
        quick = msgspec.defstruct("Keyed", [("key", str | int | None, None)], rename={"key": field}, gc=False)
        self._decode = msgspec.json.Decoder(quick).decode
        shape = Shape({field: Leaf((field,), 0, is_key=True)})
        self._examiner, self._columns = Examiner(shape), shape.columns

    def read(self, value: bytes | None) -> str | None:
        """The entity's key; None if the event has none. Raises Refusal if the event or its key cannot be read."""
        key = self._key(value)
        problem = None if key is None else key_problem(key)
        if problem is not None:
            raise Refusal(Reason.BAD_KEY, problem)
        return key

    def _key(self, value: bytes | None) -> str | None:
        if value is not None and is_plain((value,)):
            try:
                found = self._decode(value).key  # type: ignore[attr-defined]  # of a struct that is made at run time
            except (msgspec.DecodeError, ValueError, RecursionError):
                pass  # the examiner says why, or reads what the fast type is too narrow for
            else:
                return found if found is None else str(found)
        try:
            struct = self._examiner.read(value)
        except Refusal as refusal:
            if refusal.reason is Reason.MISSING_KEY:
                return None
            raise
        return str(self._columns([struct])[0][0])


def rekeyed(reader: KeyReader, key: bytes | None, value: bytes | None, headers: Headers) -> Rekeyed:
    """What becomes of a record with this key, value and headers. Never raises."""
    if headers and is_marked(headers) and mark_of(key, value, headers) is not None:
        return _CONTROL
    try:
        found = reader.read(value)
    except Refusal:
        return Rekeyed(Fate.UNREADABLE, key)
    return _ABSENT if found is None else Rekeyed(Fate.KEYED, found.encode())
