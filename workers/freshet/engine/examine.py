"""The slow path of decoding: what exactly is wrong with one event, in words a sender can act on.

It is the rule. The fast path of `freshet.engine.decode` accepts only what this accepts, with the same values.
Sentences name fields, kinds and sizes, never the text of the payload: they go to logs and answers.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

import msgspec
import numpy as np

from freshet.engine.rejection import Reason, Refusal
from freshet.engine.shape import Leaf, Shape, leaves_of
from freshet.spec.definition import Field
from freshet.spec.expr.tree import Type

MAX_BYTES = 1 << 20
"""Largest event, as JSON text."""
MAX_DEPTH = 128
"""Deepest nesting of objects and lists. A fixed number, so that no call stack decides about an event."""

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TEXT = msgspec.json.Decoder(str)
_KIND_OF = {
    ord('"'): "text",
    ord("{"): "an object",
    ord("["): "a list",
    ord("t"): "a boolean",
    ord("f"): "a boolean",
    ord("n"): "null",
}
_NO_MARKS = bytes(set(range(256)) - set(b'"{}[]'))
_ALLOWED = {Type.DOUBLE: "a number", Type.INTEGER: "a whole number", Type.TEXT: "text", Type.BOOLEAN: "true or false"}


def check_bytes(value: bytes | None) -> bytes:
    """The record's value if it may be decoded at all. Raises Refusal: empty, too_large, bad_utf8, too_deep."""
    if not value:
        raise Refusal(Reason.EMPTY, "the record has no value; an event is a JSON object")
    if len(value) > MAX_BYTES:
        raise Refusal(Reason.TOO_LARGE, f"the event has {len(value)} bytes; at most {MAX_BYTES} are allowed")
    try:
        value.decode()
    except UnicodeDecodeError as error:
        raise Refusal(Reason.BAD_UTF8, f"byte {error.start} of the event is not UTF-8; JSON is UTF-8 text") from None
    if nests_too_deep(value):
        raise Refusal(Reason.TOO_DEEP, f"objects and lists are nested more than {MAX_DEPTH} deep")
    return value


def nests_too_deep(value: bytes) -> bool:
    """Whether brackets outside of texts nest deeper than MAX_DEPTH."""
    if len(value) <= 2 * MAX_DEPTH or value.count(b"{") + value.count(b"[") <= MAX_DEPTH:
        return False
    # Without escapes every quote begins or ends a text: what stands between them in turn is structure.
    unescaped = value.replace(b"\\\\", b"").replace(b'\\"', b"")
    marks = unescaped.translate(None, delete=_NO_MARKS)
    brackets = np.frombuffer(b"".join(marks.split(b'"')[::2]), np.uint8)
    depth = np.where((brackets == ord("{")) | (brackets == ord("[")), 1, -1).cumsum()
    return bool(len(depth)) and int(depth.max()) > MAX_DEPTH


class Examiner:
    """Reads one event with care."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._leaves = list(leaves_of(shape.tree))
        self._key = next(leaf for leaf in self._leaves if leaf.is_key)

    def read(self, value: bytes | None) -> Any:
        """The event as a struct of the shape. Raises Refusal.

        What depends on more than the JSON type (an empty key, a time that does not exist) is not checked here.
        """
        checked = check_bytes(value)
        top = self._top(checked)
        return self._shape.build({leaf.slot: self._value(leaf, top) for leaf in self._leaves})

    def _top(self, value: bytes) -> dict[str, msgspec.Raw]:
        try:
            return _OBJECT.decode(value)
        except msgspec.ValidationError:
            given = _kind(value.lstrip()[:1])
            raise Refusal(Reason.WRONG_TYPE, f"the event is {given}; it must be one JSON object") from None
        except msgspec.DecodeError as error:
            self._broken(value, error)

    def _broken(self, value: bytes, error: msgspec.DecodeError) -> NoReturn:
        """Some texts that strict JSON refuses have a better explanation than "malformed"."""
        constants: list[str] = []
        try:
            loose = json.loads(value.decode(), parse_constant=constants.append, parse_int=float)
        except ValueError:
            hint = "; it starts with a byte order mark" if value.startswith(b"\xef\xbb\xbf") else ""
            raise Refusal(Reason.NOT_JSON, f"the event is not JSON: {error}{hint}") from None
        if constants:
            sentence = "NaN and Infinity are not JSON numbers; send null or a finite number"
            raise Refusal(Reason.OUT_OF_RANGE, sentence) from None
        name = self._key.path[0]
        key = loose.get(name) if isinstance(loose, dict) else None
        if isinstance(key, str) and _has_surrogates(key):
            sentence = f"{name} holds an unpaired surrogate (\\ud800 to \\udfff); a key is Unicode text"
            raise Refusal(Reason.BAD_KEY, sentence, name) from None
        if _has_surrogates(json.dumps(loose, ensure_ascii=False)):
            sentence = "a text of the event holds an unpaired surrogate (\\ud800 to \\udfff); it is not Unicode text"
            raise Refusal(Reason.BAD_UTF8, sentence) from None
        raise Refusal(Reason.NOT_JSON, f"the event is not JSON: {error}") from None

    def _value(self, leaf: Leaf, top: dict[str, msgspec.Raw]) -> Any:
        raw = _find(leaf, top)
        if raw is None:
            _require_nothing(leaf)
            return None
        if leaf.is_key:
            _require_text_or_whole(leaf, raw, Reason.BAD_KEY)
        if leaf.is_timestamp:
            _require_text_or_whole(leaf, raw, Reason.BAD_TIMESTAMP)
        if leaf.is_event_id:
            _require_text_or_whole(leaf, raw, Reason.WRONG_TYPE)
        for reader in leaf.fields:
            _require_field(reader, raw)
        return _python(leaf, raw)


def _find(leaf: Leaf, top: dict[str, msgspec.Raw]) -> bytes | None:
    """The JSON text of the leaf; None if it, or an object around it, is absent or null."""
    node = top
    for depth, name in enumerate(leaf.path):
        found = node.get(name)
        raw = b"null" if found is None else bytes(found)
        if raw == b"null":
            return None
        if depth == len(leaf.path) - 1:
            return raw
        if not raw.startswith(b"{"):
            around = ".".join(leaf.path[: depth + 1])
            sentence = f"{around} is {_kind(raw)}; it must be an object, because {'.'.join(leaf.path)} is read from it"
            raise Refusal(Reason.WRONG_TYPE, sentence, around)
        node = _OBJECT.decode(raw)
    raise AssertionError("a leaf has a path")


def _require_nothing(leaf: Leaf) -> None:
    name = ".".join(leaf.path)
    if leaf.is_key:
        raise Refusal(Reason.MISSING_KEY, f"{name} is missing or null; it names the entity, as text or integer", name)
    if leaf.is_timestamp:
        sentence = f"{name} is missing or null; it is an RFC 3339 time with zone or epoch milliseconds"
        raise Refusal(Reason.MISSING_TIMESTAMP, sentence, name)
    for reader in leaf.fields:
        if reader.required:
            sentence = f"{name} is missing or null; the field is required and must be {_ALLOWED[reader.type]}"
            raise Refusal(Reason.MISSING_FIELD, sentence, name)


def _require_text_or_whole(leaf: Leaf, raw: bytes, reason: Reason) -> None:
    name = ".".join(leaf.path)
    kind = _kind(raw)
    if kind == "text":
        return
    if kind != "a number":
        raise Refusal(reason, f"{name} is {kind}; it must be text or an integer", name)
    if not _is_whole(raw):
        raise Refusal(reason, f"{name} is a number with a fraction or exponent; it must be text or an integer", name)
    if len(raw) > 512:
        raise Refusal(reason, f"{name} is a number of {len(raw)} digits; at most 512 are allowed", name)


def _require_field(reader: Field, raw: bytes) -> None:
    name = ".".join(reader.path)
    kind, allowed = _kind(raw), _ALLOWED[reader.type]
    expected = {Type.TEXT: "text", Type.BOOLEAN: "a boolean"}.get(reader.type, "a number")
    if kind != expected:
        raise Refusal(Reason.WRONG_TYPE, f"{name} is {kind}; it must be {allowed}", name)
    if not reader.type.is_number:
        return
    number = float(raw)
    if not math.isfinite(number):
        sentence = f"{name} is a number beyond ±1.8e308, which no double holds"
        raise Refusal(Reason.OUT_OF_RANGE, sentence, name)
    if reader.type is Type.INTEGER and not number.is_integer():
        raise Refusal(Reason.WRONG_TYPE, f"{name} is a number with a fraction; it must be a whole number", name)
    if reader.minimum is not None and number < reader.minimum:
        raise Refusal(Reason.OUT_OF_RANGE, f"{name} is below its minimum of {reader.minimum:g}", name)
    if reader.maximum is not None and number > reader.maximum:
        raise Refusal(Reason.OUT_OF_RANGE, f"{name} is above its maximum of {reader.maximum:g}", name)


def _python(leaf: Leaf, raw: bytes) -> Any:
    kind = _kind(raw)
    if kind == "text":
        return _TEXT.decode(raw)
    if kind == "a boolean":
        return raw == b"true"
    return int(raw) if _is_whole(raw) and "number" not in leaf.kinds else float(raw)


def _is_whole(raw: bytes) -> bool:
    return raw.lstrip(b"-").isdigit()


def _kind(raw: bytes) -> str:
    """In words; a number is what starts like nothing else."""
    return _KIND_OF.get(raw[0], "a number") if raw else "nothing"


def _has_surrogates(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
