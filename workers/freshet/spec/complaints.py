"""pydantic's errors as problems with our own sentences, and what is left of a manifest without the broken parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from freshet.spec.problems import Path, Problem, or_else, quoted

_KINDS = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "is_instance_of": "a mapping",
}
_BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("more than", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("less than", "lt"),
}


def problems_of(error: ValidationError, model: type[BaseModel]) -> list[Problem]:
    """The problems that pydantic found, one for each place."""
    found: dict[Path, Problem] = {}
    for detail in error.errors(include_url=False, include_context=True):
        problem = _problem(detail, model)
        found.setdefault(problem.path, problem)
    return list(found.values())


def _problem(detail: ErrorDetails, model: type[BaseModel]) -> Problem:
    kind, given, context = detail["type"], detail["input"], detail.get("ctx", {})
    path, in_key = _path(detail["loc"])
    if kind == "missing":
        return Problem(path, "is required")
    if kind == "extra_forbidden":
        return Problem(path, _unknown_field(str(path[-1]), _model_at(model, path[:-1])), in_key=True)
    return Problem(path, _sentence(kind, given, context, detail["msg"]), in_key)


def _sentence(kind: str, given: object, context: Mapping[str, Any], message: str) -> str:
    if kind == "rule":
        return str(context["sentence"])
    if kind in _KINDS:
        hint = " (put it in quotes)" if kind == "string_type" and isinstance(given, (int, float)) else ""
        return f"must be {_KINDS[kind]}, got {quoted(given)}{hint}"
    if kind in _BOUNDS:
        words, limit = _BOUNDS[kind]
        return f"must be {words} {context[limit]}, got {quoted(given)}"
    if kind == "literal_error":
        return f"must be {str(context['expected']).replace(chr(39), chr(34))}, got {quoted(given)}"
    if kind in ("too_long", "string_too_long"):
        return f"is too long: at most {context.get('max_length')} are allowed"
    if kind in ("too_short", "string_too_short"):
        return "must not be empty"
    if kind == "finite_number":
        return "must be a finite number"
    return f"{message}, got {quoted(given)}"


def _unknown_field(name: str, model: type[BaseModel] | None) -> str:
    return f"unknown field {quoted(name)}{or_else(name, sorted(model.model_fields)) if model else ''}"


def _path(location: tuple[int | str, ...]) -> tuple[Path, bool]:
    """pydantic's location without its marks for keys, and for the members of `default`'s and `parameters`' unions."""
    marked = location[-2:-1] == ("default",) or location[-3:-2] == ("parameters",) or location[-1:] == ("[key]",)
    path = location[:-1] if marked else location
    return path, path != location and location[-1] == "[key]"


def _model_at(model: type[BaseModel] | None, path: Path) -> type[BaseModel] | None:
    """The model that describes the mapping at `path`."""
    for part in path:
        if model is None:
            return None
        if isinstance(part, int) or part not in model.model_fields:
            continue  # a list's index or a mapping's free name: the model found last is the members' one
        model = _member(model.model_fields[part].annotation)
    return model


def _member(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in get_args(annotation):
        found = _member(inner)
        if found:
            return found
    return None


def without(data: Any, paths: list[Path]) -> Any:
    """A copy of a manifest without the smallest parts around `paths` that it can do without.

    That is a feature, an event field, or the field itself, whose default then holds. The manifest is a mapping.
    """
    rest = _copy(data, (), {_part(path) for path in paths})
    for part, field in (("metadata", "name"), ("spec", "version")):
        # Nothing depends on these two, so any will do.
        if isinstance(rest.get(part), dict):
            rest[part].setdefault(field, "x")
    return rest


def _part(path: Path) -> Path:
    if path[:2] == ("spec", "features"):
        return path[:3]
    if path[:3] == ("spec", "source", "fields"):
        return path[:4]
    return path


def _copy(value: Any, path: Path, doomed: set[Path]) -> Any:
    if isinstance(value, dict):
        return {k: _copy(v, (*path, k), doomed) for k, v in value.items() if (*path, k) not in doomed}
    if isinstance(value, list):
        return [_copy(v, (*path, i), doomed) for i, v in enumerate(value) if (*path, i) not in doomed]
    return value
