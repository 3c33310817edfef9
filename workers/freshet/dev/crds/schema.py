"""From pydantic's JSON schema to a structural one, as Kubernetes wants it (OpenAPI v3.0 without $ref and anyOf)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from freshet.dev.crds.rules import FIELD_RULES, FREE_DEFAULTS, LIST_KEYS, MODEL_RULES, own_rules
from freshet.dev.crds.texts import TEXTS
from freshet.spec.durations import duration_text
from freshet.spec.rules import size_text

Schema = dict[str, Any]

_KEPT = (
    "type",
    "enum",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
)
_LONGEST = 63
"""Of text whose model sets no limit: such fields take one of few words, and a rule says which."""


def spec_schema(model: type[BaseModel]) -> Schema:
    """The structural schema of the model's `spec`, with defaults, CEL rules and descriptions."""
    whole = model.model_json_schema()
    return _Structural(whole["$defs"], model.__name__).of(whole["properties"]["spec"], ("spec",))


class _Structural:
    def __init__(self, definitions: Mapping[str, Schema], kind: str) -> None:
        self._definitions = definitions
        self._kind = kind

    def of(self, given: Schema, path: tuple[str, ...]) -> Schema:
        """The structural form of `given`, which stands at `path` (list items and mapped values are `*`)."""
        source = self._resolved(given)
        found: Schema = {}
        text = TEXTS[self._kind].get(".".join(path))
        if text:
            found["description"] = text
        if source.get("x-scalar"):
            found["x-kubernetes-preserve-unknown-fields"] = True
            return found
        found.update({word: source[word] for word in _KEPT if word in source})
        if "x-planned" in source:
            del found["enum"]  # a rule says it better
        if source["type"] == "string" and "enum" not in found:
            found.setdefault("maxLength", _LONGEST)
        if source["type"] == "integer":
            found["format"] = "int64"
        if "exclusiveMinimum" in source:
            found.update(minimum=source["exclusiveMinimum"], exclusiveMinimum=True)
        self._inner(source, path, found)
        self._default(source, path, found)
        rules = self._rules(source, path)
        if rules:
            found["x-kubernetes-validations"] = rules
        return found

    def _resolved(self, given: Schema) -> Schema:
        """Without $ref, and of "this or nothing" the this: what may be omitted is just not required."""
        source = dict(given)
        if "anyOf" in source and not source.get("x-scalar"):
            [inner] = [one for one in source.pop("anyOf") if one.get("type") != "null"]
            source = {**inner, **source}
        if "$ref" in source:
            name = source.pop("$ref").removeprefix("#/$defs/")
            source = {**self._definitions[name], **source, "x-model": name}
        return source if "anyOf" not in source or source.get("x-scalar") else self._resolved(source)

    def _inner(self, source: Schema, path: tuple[str, ...], found: Schema) -> None:
        if source["type"] == "array":
            found["items"] = self.of(source["items"], (*path, "*"))
            key = LIST_KEYS.get(".".join(path))
            found["x-kubernetes-list-type"] = "map" if key else "atomic"
            if key:
                found["x-kubernetes-list-map-keys"] = [key]
        elif "properties" in source:
            if source.get("required"):
                found["required"] = source["required"]
            found["properties"] = {name: self.of(one, (*path, name)) for name, one in source["properties"].items()}
        elif source["type"] == "object":
            [values] = source.get("patternProperties", {"": source.get("additionalProperties")}).values()
            inner = self.of(values, (*path, "*"))
            if "type" in inner:
                found["additionalProperties"] = inner
            else:
                # Rules could not even see a map of values without a type.
                found["x-kubernetes-preserve-unknown-fields"] = True

    def _default(self, source: Schema, path: tuple[str, ...], found: Schema) -> None:
        default = source.get("default")
        if default is None or ".".join(path) in FREE_DEFAULTS:
            return
        if "properties" in source:
            # Written out: rules are held against a default as it stands, before the fields' own defaults fill it.
            inner = {name: one["default"] for name, one in found["properties"].items() if "default" in one}
            if inner:
                found["default"] = inner
        elif default not in ({}, []):
            found["default"] = _as_written(source, default)

    def _rules(self, source: Schema, path: tuple[str, ...]) -> list[Schema]:
        named = MODEL_RULES.get(source.get("x-model", ""), [])
        placed = FIELD_RULES.get(self._kind, {}).get(".".join(path), [])
        return [rule.schema() for rule in (*own_rules(source), *named, *placed)]


def _as_written(source: Schema, default: Any) -> Any:
    """A default as a manifest writes it."""
    if "x-duration" in source:
        return duration_text(default)
    if "x-size" in source:
        return size_text(default)
    if "%" in source.get("pattern", ""):
        return f"{default // 100}%"
    return default
