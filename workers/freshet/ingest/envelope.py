"""What ingest adds to an event: when it was received, and an id if it has none.

The client's text is kept byte by byte and the additions are spliced in before its last brace. Only where a null or
empty value has to be replaced is the object written anew, each value still as it was.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import msgspec

from freshet.runtime.timestamps import rfc3339

RECEIVED_AT = "received_at"
"""Kept if the client sends it: events that come from another topic keep their first one."""

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ID = msgspec.json.Decoder(str | int)
_ABSENT = (b"null", b'""')


def received_at(now_ms: int) -> bytes:
    """The moment as JSON text, RFC 3339 in UTC."""
    return b'"%b"' % rfc3339(now_ms).encode()


class Envelope:
    """Completes the events of one topic."""

    def __init__(self, id_names: Sequence[str]) -> None:
        """`id_names`: the fields that FeatureSets of the topic read event ids from."""
        self._names = tuple(dict.fromkeys((*id_names, RECEIVED_AT)))
        self._id_name = id_names[0] if id_names else None
        self._member = {name: msgspec.json.encode(name) + b":" for name in self._names}

    def complete(self, event: bytes, received: bytes, size_limit: int) -> tuple[bytes, str | None]:
        """The event with what was missing, and its id. What is not a JSON object, or too large, stays as it is."""
        if len(event) > size_limit:
            return event, None
        try:
            fields = _OBJECT.decode(event)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return event, None
        made = ""
        added: list[tuple[str, bytes]] = []
        for name in self._names:
            if not _is_absent(fields.get(name)):
                continue
            if name == RECEIVED_AT:
                added.append((name, received))
            else:
                made = made or os.urandom(16).hex()
                added.append((name, b'"%b"' % made.encode()))
        event_id = made or (_id_text(fields[self._id_name]) if self._id_name else None)
        if not added:
            return event, event_id
        if any(name in fields for name, _ in added):
            return msgspec.json.encode({**fields, **{name: msgspec.Raw(v) for name, v in added}}), event_id
        extra = b",".join([self._member[name] + value for name, value in added])
        head = event.rstrip()[:-1].rstrip()
        return head + (b"," if fields else b"") + extra + b"}", event_id


def _is_absent(value: msgspec.Raw | None) -> bool:
    return value is None or bytes(value) in _ABSENT


def _id_text(raw: msgspec.Raw) -> str | None:
    """The client's own id, as it is given back; None if it is neither text nor a number."""
    try:
        return str(_ID.decode(raw))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
