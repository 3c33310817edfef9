"""An event that a FeatureSet accepts, to show a newcomer what to send."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from freshet.spec.definition import AggregateFeature, Definition, Field
from freshet.spec.expr.tree import Call, Expr, Literal, Name, Type


def sample_event(definition: Definition, key: str, event_id: str) -> dict[str, Any]:
    """An event of the entity `key` that happens now, with a value for every field."""
    event: dict[str, Any] = {definition.event_id: event_id, definition.key: key}
    for field in definition.fields:
        place = event
        for part in field.path[:-1]:
            place = place.setdefault(part, {})
        place.setdefault(field.path[-1], _value(definition, field))
    event[definition.timestamp] = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return event


def _value(definition: Definition, field: Field) -> float | bool | str:
    if field.type is Type.TEXT:
        return next(_compared(definition, field.name), "text")
    if field.type is Type.BOOLEAN:
        return True
    low = field.minimum if field.minimum is not None else 1.0
    value = min(max(low, 1.0), field.maximum if field.maximum is not None else max(low, 1.0))
    return int(value) if value.is_integer() else value


def _compared(definition: Definition, name: str) -> Iterator[str]:
    """Texts that the manifest compares this field with: the values that mean something to it."""
    for feature in definition.features:
        if isinstance(feature, AggregateFeature) and feature.input.where is not None:
            yield from _texts_beside(feature.input.where, name)


def _texts_beside(expr: Expr, name: str) -> Iterator[str]:
    if not isinstance(expr, Call):
        return
    if any(isinstance(arg, Name) and arg.name == name for arg in expr.args):
        yield from (arg.value for arg in expr.args if isinstance(arg, Literal) and isinstance(arg.value, str))
    for arg in expr.args:
        yield from _texts_beside(arg, name)
