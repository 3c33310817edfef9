"""The revision of a definition: equal definitions have equal revisions, on any machine and in any later version."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from enum import Enum
from typing import Any

from freshet.spec.definition import Definition

CANONICAL_FORM = 2
"""Number of the canonical form. A change of it makes every state be built anew."""


def revision_of(definition: Definition, topic: str, partitions: int, partitioner: str) -> str:
    """10 hexadecimal digits of the SHA-256 of the canonical definition; its own `revision` does not count."""
    return hashlib.sha256(canonical(definition, topic, partitions, partitioner).encode()).hexdigest()[:10]


def canonical(definition: Definition, topic: str, partitions: int, partitioner: str) -> str:
    """The definition and its log as one line of JSON with sorted names.

    The log counts because states belong to one of its partitions: with another number of them keys live elsewhere.
    What a cluster's API changes in a manifest does not: it sorts the names of fields and writes 0.0 as 0.
    """
    fields = tuple(sorted(definition.fields, key=lambda field: field.name))
    plain = _plain(dataclasses.replace(definition, revision="", fields=fields))
    log = {"topic": topic, "partitions": partitions, "partitioner": partitioner}
    content = {"form": CANONICAL_FORM, "definition": plain, "log": log}
    return json.dumps(content, sort_keys=True, separators=(",", ":"))


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if dataclasses.is_dataclass(value):
        fields = {
            field.name: _plain(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if not (field.metadata.get("later") and getattr(value, field.name) == field.default)
        }
        return {"is": type(value).__name__, **fields}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value
