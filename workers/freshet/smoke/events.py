"""Synthetic events of one entity: valid for a FeatureSet, and such that its filters let some of them through."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from freshet.spec.definition import AggregateFeature, Definition, Field
from freshet.spec.expr.tree import Call, Expr, Literal, Name, Type

Value = float | str | bool | None

_LEAST, _MOST = 8, 24
_AGE_MS, _STEP_MS = 20_000, 500
"""The first event is that old, so that a clock that is a little fast makes none of them an event of the future."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event and what expressions see of it."""

    id: str
    t_ms: int
    values: Mapping[str, Value]
    """By field name; empty where the fields are not known."""
    body: dict[str, Any]

    def json(self) -> bytes:
        """As it is sent."""
        return json.dumps(self.body).encode()


@dataclass(frozen=True, slots=True)
class Plan:
    """The events of a run: the first is sent twice."""

    events: tuple[Event, ...]
    counts_once: bool | None
    """Whether what comes twice counts once; None where the manifest is not known."""
    keys: tuple[str, ...]
    """Fields that name the entity: that of the FeatureSet, and those of others that read the same events."""


def rfc3339(t_ms: int) -> str:
    """A time as events write it."""
    return datetime.fromtimestamp(t_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def plan(definition: Definition, key: str, now_ms: int, beside: Sequence[Definition] = ()) -> Plan:
    """Events for a FeatureSet whose manifest is known, which those `beside` it take too, as far as they agree."""
    words = _words(definition)
    count = min(max([_LEAST, *(len(found) for found in words.values())]), _MOST)
    named = dict.fromkeys([definition.key, *(other.key for other in beside)], key)
    made = tuple(_event(definition, named, index, now_ms, words) for index in range(count))
    for index, event in enumerate(made):
        for other in beside:
            _complete(event, other, index)
    return Plan(made, definition.deduplicate_ms > 0, tuple(named))


def learned(template: Mapping[str, Any], key_name: str, timestamp: str, key: str, now_ms: int) -> Plan:
    """Events like one that ingest has said to be valid, where the manifest is not known."""
    made = []
    for index in range(_LEAST):
        t_ms = now_ms - _AGE_MS + index * _STEP_MS
        name = f"{key}-{index}"
        body = json.loads(json.dumps(template))
        put(body, timestamp, rfc3339(t_ms))
        body |= {key_name: key, "event_id": name}
        made.append(Event(name, t_ms, {}, body))
    return Plan(tuple(made), None, (key_name,))


def put(body: dict[str, Any], path: str, value: object) -> None:
    """Sets `a.b` inside an event."""
    *around, last = path.split(".")
    node = body
    for name in around:
        node = node.setdefault(name, {})
    node[last] = value


def copies(event: Event, old_key: str, key: str, count: int) -> list[dict[str, Any]]:
    """Bodies of `count` different events like this one, of the entity `key` instead of `old_key`."""
    found = []
    for index in range(count):
        changed = {old_key: key, event.id: f"{key}-{index}"}
        body = {n: changed.get(v, v) if isinstance(v, str) else v for n, v in event.body.items()}
        found.append(body)
    return found


def _event(
    definition: Definition, named: Mapping[str, str], index: int, now_ms: int, words: Mapping[str, list[str]]
) -> Event:
    t_ms = now_ms - _AGE_MS + index * _STEP_MS
    name = f"{named[definition.key]}-{index}"
    body: dict[str, Any] = {definition.timestamp: rfc3339(t_ms), definition.event_id: name, **named}
    values: dict[str, Value] = {}
    for field in definition.fields:
        # A field may read a key or the time, which stand already.
        value: Value = body[field.path[0]] if field.path[0] in body and len(field.path) == 1 else None
        if value is None:
            value = _value(field, index, words.get(field.name, []))
            put(body, ".".join(field.path), value)
        values[field.name] = float(value) if field.type.is_number and isinstance(value, int | float) else value
    return Event(name, t_ms, values, body)


def _complete(event: Event, other: Definition, index: int) -> None:
    """Adds what another FeatureSet needs and this event does not have."""
    event.body.setdefault(other.timestamp, rfc3339(event.t_ms))
    event.body.setdefault(other.event_id, event.id)
    for field in other.fields:
        if _found(event.body, field.path) is None:
            put(event.body, ".".join(field.path), _value(field, index, []))


def _found(body: Mapping[str, Any], path: Sequence[str]) -> object:
    node: object = body
    for name in path:
        node = node.get(name) if isinstance(node, dict) else None
    return node


def _value(field: Field, index: int, words: list[str]) -> str | float | bool:
    """One that the field accepts; of `words`, which filters compare it with, each in turn."""
    if field.type is Type.TEXT:
        return words[index % len(words)] if words else "smoke"
    if field.type is Type.BOOLEAN:
        return index % 2 == 0
    low, high = field.minimum, field.maximum
    if low is not None and high is not None:
        wanted = low + (high - low) * (index + 1) / (_MOST + 1)
    elif high is not None:
        wanted = high - 1 - 1.25 * index
    else:
        wanted = (low or 0.0) + 10 + 1.25 * index
    if field.type is not Type.INTEGER:
        return wanted
    least = math.floor(wanted) if low is None else math.ceil(low)
    return max(math.floor(wanted), least)


def _words(definition: Definition) -> dict[str, list[str]]:
    """Field → the texts that filters compare it with."""
    found: dict[str, list[str]] = {}
    for feature in definition.features:
        if isinstance(feature, AggregateFeature):
            for expr in (feature.input.where, feature.input.of):
                for name, word in _compared(expr):
                    if word not in found.setdefault(name, []):
                        found[name].append(word)
    return found


def _compared(expr: Expr | None) -> Iterator[tuple[str, str]]:
    if not isinstance(expr, Call):
        return
    fields = [arg.name for arg in expr.args if isinstance(arg, Name) and arg.type is Type.TEXT]
    texts = [arg.value for arg in expr.args if isinstance(arg, Literal) and isinstance(arg.value, str)]
    for name in fields:
        for text in texts:
            yield name, text
    for arg in expr.args:
        yield from _compared(arg)
