"""Types of manifest values, each with the sentence that says what is allowed.

They are pydantic annotations: a broken rule becomes an error of the type `rule`, whose text is that sentence.
"""

from __future__ import annotations

import re
import zoneinfo
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError

from freshet.spec.durations import duration_text, parse_duration
from freshet.spec.problems import quoted


def broken(sentence: str) -> PydanticCustomError:
    """A rule that is not kept; `sentence` goes to the user as it is."""
    return PydanticCustomError("rule", "{sentence}", {"sentence": sentence})


@dataclass(frozen=True, slots=True)
class Hint:
    """Says in the JSON schema what a rule's code checks, so that the CRDs are made from the same rule.

    Besides words of JSON schema: `x-sentence` (what `pattern` allows), `x-duration` (bounds in milliseconds),
    `x-only` (the one value of this version, and why), `x-planned` (values of later versions).
    """

    words: dict[str, Any] = field(hash=False)

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Called by pydantic."""
        return {**handler(core), **self.words}


def pattern(pattern: str, sentence: str, most: int) -> tuple[AfterValidator, Hint]:
    """Annotations of text that `pattern` matches as a whole; it has at most `most` characters."""
    compiled = re.compile(pattern, re.ASCII)

    def check(text: str) -> str:
        if not compiled.fullmatch(text):
            raise broken(f"{quoted(text)} is not allowed: {sentence}")
        return text

    return AfterValidator(check), Hint({"pattern": f"^(?:{pattern})$", "x-sentence": sentence, "maxLength": most})


def _duration(low: str, high: str) -> BeforeValidator:
    low_ms, high_ms = parse_duration(low), parse_duration(high)

    def check(given: object) -> int:
        if not isinstance(given, str):
            raise broken(f"must be a duration like 30s, 5m or 24h, got {quoted(given)}")
        try:
            ms = parse_duration(given)
        except ValueError as error:
            raise broken(f"{error}; got {quoted(given)}") from None
        if not low_ms <= ms <= high_ms:
            raise broken(f"must be from {duration_text(low_ms)} to {duration_text(high_ms)}, got {given}")
        return ms

    return BeforeValidator(check)


def duration(low: str, high: str) -> tuple[BeforeValidator, Hint]:
    """Annotations of a duration within bounds; its value is whole milliseconds."""
    bounds = [parse_duration(low), parse_duration(high)]
    return _duration(low, high), Hint({"type": "string", "maxLength": 12, "x-duration": bounds})


_SIZE = re.compile(r"([1-9][0-9]{0,6})(Ki|Mi)", re.ASCII)
_UNITS = {"Ki": 1024, "Mi": 1024 * 1024}


def size(low: str, high: str) -> tuple[BeforeValidator, Hint]:
    """Annotations of a number of bytes within bounds, written as 256Ki or 1Mi; its value is whole bytes."""
    bounds = [_bytes(low), _bytes(high)]
    sentence = f"use a size from {low} to {high}, like 256Ki or 1Mi"

    def check(given: object) -> int:
        found = _bytes(given) if isinstance(given, str) else None
        if found is None or not bounds[0] <= found <= bounds[1]:
            raise broken(f"{quoted(given)} is not allowed: {sentence}")
        return found

    words = {
        "type": "string",
        "maxLength": 9,
        "pattern": f"^{_SIZE.pattern}$",
        "x-sentence": sentence,
        "x-size": bounds,
    }
    return BeforeValidator(check), Hint(words)


def size_text(size: int) -> str:
    """Bytes as a manifest writes them."""
    return f"{size // 1024 // 1024}Mi" if size % (1024 * 1024) == 0 else f"{size // 1024}Ki"


def _bytes(text: str) -> int:
    found = _SIZE.fullmatch(text)
    return int(found[1]) * _UNITS[found[2]] if found else -1


def only(value: object, reason: str) -> tuple[AfterValidator, Hint]:
    """Annotations of a field that has one value in this version; `reason` says what the others will mean."""

    def check(given: object) -> object:
        if given != value:
            raise broken(f"{quoted(given)} is {not_implemented(reason)}; use {quoted(value)}")
        return given

    return AfterValidator(check), Hint({"x-only": [value, reason]})


def not_implemented(reason: str) -> str:
    """How every value that a later version will take is refused."""
    return f"not implemented by this version of Freshet: {reason}"


def _timezone(text: str) -> str:
    wrong = broken(
        f"{quoted(text)} is not a time zone: use a name of the IANA database, for example Europe/Berlin or UTC"
    )
    if not re.fullmatch(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,2}", text, re.ASCII) or text == "localtime":
        raise wrong
    try:
        zoneinfo.ZoneInfo(text)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise wrong from None
    return text


def _path(text: str) -> str:
    if "*" in text or "[" in text:
        raise broken(f"{quoted(text)} reads a list, which this version of Freshet does not implement")
    parts = text.split(".")
    if len(parts) > 8 or any(not 0 < len(part) <= 128 for part in parts):
        raise broken(f"{quoted(text)} is not a path: use 1 to 8 names with dots between, for example geo.city")
    return text


ResourceName = Annotated[
    str,
    *pattern(
        r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?",
        "use at most 40 lower-case letters, digits and hyphens, with a letter or digit first and last",
        40,
    ),
]
"""Kubernetes allows 63; revision and component names are added to it."""

NamespaceName = Annotated[
    str,
    *pattern(
        r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?",
        "use at most 63 lower-case letters, digits and hyphens, with a letter or digit first and last",
        63,
    ),
]

VersionName = Annotated[
    str,
    *pattern(
        r"[A-Za-z0-9]([A-Za-z0-9._-]{0,30}[A-Za-z0-9])?",
        "use at most 32 letters, digits, dots, hyphens and underscores, with a letter or digit first and last",
        32,
    ),
]

FeatureName = Annotated[
    str,
    *pattern(
        r"[a-z][a-z0-9_]{0,62}", "use at most 63 lower-case letters, digits and underscores, with a letter first", 63
    ),
]

EntityName = FeatureName

FieldName = Annotated[
    str,
    *pattern(r"[A-Za-z_][A-Za-z0-9_]{0,62}", "use at most 63 letters, digits and underscores, with no digit first", 63),
]

EventKey = Annotated[
    str,
    *pattern(
        r"[A-Za-z_@][A-Za-z0-9_@-]{0,127}",
        "name a field at the top of the event, with letters, digits, _, @ and -",
        128,
    ),
]

TopicName = Annotated[
    str,
    *pattern(
        r"[A-Za-z0-9._-]{3,249}|[A-Za-z0-9_-][A-Za-z0-9._-]?|\.[A-Za-z0-9_-]",
        "use at most 249 letters, digits, dots, hyphens and underscores, and more than one or two dots",
        249,
    ),
]

Timezone = Annotated[
    str,
    AfterValidator(_timezone),
    Hint(
        {
            "pattern": r"^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,2}$",
            "x-sentence": "use a name of the IANA database, for example Europe/Berlin or UTC",
            "maxLength": 64,
        }
    ),
]

FieldPath = Annotated[
    str,
    AfterValidator(_path),
    Hint(
        {
            "pattern": r"^[^.*\[]{1,128}([.][^.*\[]{1,128}){0,7}$",
            "x-sentence": "use 1 to 8 names with dots between, for example geo.city",
            "maxLength": 1031,
        }
    ),
]
