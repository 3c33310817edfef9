"""The event fields of a manifest: where each stands in an event, and that they can all be true of one event."""

from __future__ import annotations

from freshet.spec.definition import Field
from freshet.spec.expr.tree import Type
from freshet.spec.manifest import SpecModel
from freshet.spec.problems import Path, Problem, quoted

FIELD_TYPES = {
    "string": Type.TEXT,
    "double": Type.DOUBLE,
    "integer": Type.INTEGER,
    "boolean": Type.BOOLEAN,
}


def compile_fields(spec: SpecModel, problems: list[Problem]) -> list[Field]:
    """The fields in the manifest's order; contradictions between them become problems."""
    fields = [
        Field(
            name=name,
            type=FIELD_TYPES[model.type],
            path=tuple((model.path or name).split(".")),
            required=model.required,
            minimum=model.minimum,
            maximum=model.maximum,
        )
        for name, model in spec.source.fields.items()
    ]
    _spellings(fields, problems)
    _places(spec, fields, problems)
    return fields


def _where(field: Field) -> Path:
    return ("spec", "source", "fields", field.name)


def _spellings(fields: list[Field], problems: list[Problem]) -> None:
    """SQL does not tell names apart by case."""
    seen: dict[str, str] = {}
    for field in fields:
        other = seen.setdefault(field.name.lower(), field.name)
        if other != field.name:
            problems.append(
                Problem(_where(field), f"differs from {quoted(other)} only in case, which SQL does not see")
            )


def _places(spec: SpecModel, fields: list[Field], problems: list[Problem]) -> None:
    """No value can be at once text or a number and an object that holds another field."""
    source = spec.source
    taken: dict[tuple[str, ...], str] = {
        (spec.entity.key,): "the entity's key",
        (source.timestamp,): "the event's timestamp",
        (source.eventId,): "the event's id",
    }
    if len(taken) < 3:
        problems.append(Problem(("spec", "source"), "entity.key, timestamp and eventId must be three different fields"))
    paths: dict[tuple[str, ...], str] = {}
    for field in fields:
        shown = ".".join(field.path)
        if field.path in paths:
            problems.append(
                Problem(_where(field), f"reads {quoted(shown)}, which {quoted(paths[field.path])} already reads")
            )
            continue
        outer = [path for path in (*taken, *paths) if field.path[: len(path)] == path and len(path) < len(field.path)]
        inner = [path for path in paths if path[: len(field.path)] == field.path and len(path) > len(field.path)]
        for path in (*outer, *inner):
            owner = taken.get(path) or quoted(paths[path])
            message = (
                f"reads {quoted(shown)}, but {owner} is at {quoted('.'.join(path))}: one of them would be an object"
            )
            problems.append(Problem(_where(field), message))
        paths[field.path] = field.name
