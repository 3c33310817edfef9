"""A request's body to the JSON texts of its events, without reading more of them than where they end."""

from __future__ import annotations

import msgspec

from freshet.ingest.problems import Problem

MAX_EVENTS = 10_000
"""Most events of one request."""

_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
_ONE = msgspec.json.Decoder(msgspec.Raw)
_LINES = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"})
_OTHERS = frozenset({"application/json", "application/x-www-form-urlencoded", "application/octet-stream"})


def check_content_type(given: str) -> bool:
    """Whether the type says that there is one event a line. Raises Problem (415) for what cannot hold JSON.

    A form type is what `curl -d` sends by itself; its body is taken as it is.
    """
    kind = given.partition(";")[0].strip().lower()
    if kind in _LINES:
        return True
    if not kind or kind in _OTHERS or kind.startswith("text/") or kind.endswith("+json"):
        return False
    message = "the Content-Type is not one that holds JSON; send application/json or application/x-ndjson"
    raise Problem(415, "unsupported_media_type", message)


def split(body: bytes, lines: bool) -> list[bytes]:
    """The events: an object, a JSON array of objects, or one object a line (always so if `lines`).

    An event that is broken is still one of them where its end can be seen; a broken array is not. Raises Problem.
    """
    text = body.removeprefix(b"\xef\xbb\xbf").strip()
    if not text:
        raise Problem(400, "empty", "the body is empty; send an event, a JSON array of events, or one event a line")
    if lines or not text.startswith(b"["):
        events = _by_lines(text) if lines or _is_lines(text) else [text]
    else:
        events = _of_array(text)
    if not events:
        raise Problem(400, "empty", "the array holds no event")
    if len(events) > MAX_EVENTS:
        raise Problem(413, "too_many_events", f"there are {len(events)} events; at most {MAX_EVENTS} go in one request")
    return events


def _of_array(text: bytes) -> list[bytes]:
    try:
        return [bytes(one) for one in _ARRAY.decode(text)]
    except RecursionError:
        message = "an event of the array nests too deep to tell its end; nothing was taken"
        raise Problem(400, "too_deep", message) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        message = f"the array is not JSON, so nothing of it was taken: {error}; one event a line is judged line by line"
        raise Problem(400, "not_json", message) from None


def _by_lines(text: bytes) -> list[bytes]:
    return [line for line in map(bytes.strip, text.split(b"\n")) if line]


def _is_lines(text: bytes) -> bool:
    """One of the first two lines is a whole JSON value: so it is not one event that was written over several lines."""
    first, more, rest = text.partition(b"\n")
    return bool(more) and (_is_value(first) or (_is_value(rest.partition(b"\n")[0]) and first.rstrip().endswith(b"}")))


def _is_value(line: bytes) -> bool:
    try:
        return line.lstrip().startswith(b"{") and bool(_ONE.decode(line))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
