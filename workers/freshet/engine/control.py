"""Records that are no events: what their headers say (decision 8). Processors and the recorder read them alike.

Only what is well formed counts as a mark; a record whose marks mean nothing is a record like any other, so that a
producer with headers of its own is never misunderstood.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from freshet.engine.decode import key_problem
from freshet.spec import headers as names

Headers = Sequence[tuple[str, bytes | None]]

_OWNER = re.compile(r"[^/]{1,253}/[^/]{1,253}/[^/]{1,63}")
_MAX_OFFSET = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Erase:
    """Everything of the entity before this record is to be forgotten."""

    entity: str
    request_id: UUID | None
    """Whose receipt it belongs to; None for a record that somebody else made."""


@dataclass(frozen=True, slots=True)
class Replay:
    """A dead letter that was sent again: only one revision counts it."""

    owner: str
    """namespace/featureset/revision."""
    source: tuple[UUID, int, int] | None
    """Topic id, partition and offset of the record that was refused; None if the headers do not say it."""


Mark = Erase | Replay


def is_marked(headers: Headers) -> bool:
    """Whether `mark_of` has to be asked at all: quick, as producers may well send headers of their own."""
    return any(name in (names.CONTROL, names.FOR) for name, _ in headers)


def mark_of(key: bytes | None, value: bytes | None, headers: Headers) -> Mark | None:
    """What a record's headers make of it; None for an ordinary record. Never raises."""
    found = {name: data for name, data in headers if data is not None}
    if found.get(names.CONTROL) == names.ERASE.encode() and not value:
        entity = _text(key)
        if entity is not None and key_problem(entity) is None:
            return Erase(entity, _uuid(found.get(names.REQUEST)))
    owner = _text(found.get(names.FOR))
    if owner is not None and _OWNER.fullmatch(owner):
        return Replay(owner, _source(found))
    return None


def _source(found: dict[str, bytes]) -> tuple[UUID, int, int] | None:
    topic = _uuid(found.get(names.SOURCE_TOPIC_ID))
    partition, offset = (_number(found.get(name)) for name in (names.SOURCE_PARTITION, names.SOURCE_OFFSET))
    if topic is None or partition is None or offset is None:
        return None
    return topic, partition, offset


def _text(data: bytes | None) -> str | None:
    try:
        return None if data is None else data.decode()
    except UnicodeDecodeError:
        return None


def _number(data: bytes | None) -> int | None:
    text = _text(data)
    if text is None or not (text.isascii() and text.isdecimal()) or len(text) > 19 or int(text) > _MAX_OFFSET:
        return None
    return int(text)


def _uuid(data: bytes | None) -> UUID | None:
    try:
        return None if data is None else UUID(data.decode())
    except ValueError:  # UnicodeDecodeError is one
        return None
