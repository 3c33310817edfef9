"""Which values of the JSON object a definition reads, and the msgspec structs that read just these.

Several readers may want one value (the entity's key may be a text field too): one *leaf* a path, with all its
readers, keeps every value decoded once.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec

from freshet.engine.timestamps import END_MS
from freshet.spec.definition import Definition, Field
from freshet.spec.expr.tree import Type

_KINDS = {
    Type.DOUBLE: {"whole", "number"},
    Type.INTEGER: {"whole", "number"},
    Type.TEXT: {"text"},
    Type.BOOLEAN: {"flag"},
}


@dataclass(slots=True)
class Leaf:
    """One value of the event."""

    path: tuple[str, ...]
    slot: int
    """Where its column stands in what `Shape.columns` gives."""
    is_key: bool = False
    is_timestamp: bool = False
    is_event_id: bool = False
    fields: list[Field] = field(default_factory=list)

    @property
    def required(self) -> bool:
        return self.is_key or self.is_timestamp or any(f.required for f in self.fields)

    @property
    def kinds(self) -> set[str]:
        """What all readers can use: of text, whole, number, flag."""
        kinds = {"text", "whole", "number", "flag"}
        if self.is_key or self.is_timestamp or self.is_event_id:
            kinds &= {"text", "whole"}
        for reader in self.fields:
            kinds &= _KINDS[reader.type]
        return kinds

    def annotation(self) -> Any:
        """A type that admits no bad value. It may refuse good ones: these take the slow path."""
        kinds = self.kinds
        choices: list[Any] = []
        if "text" in kinds:
            choices.append(str)
        if "flag" in kinds:
            choices.append(bool)
        if "number" in kinds:
            choices.append(self._bounded(float))
        elif "whole" in kinds:
            choices.append(Annotated[int, msgspec.Meta(ge=0, lt=END_MS)] if self.is_timestamp else self._bounded(int))
        if not self.required or not choices:
            choices.append(None)
        return _either(choices)

    def _bounded(self, base: type) -> Any:
        lows = [f.minimum for f in self.fields if f.minimum is not None]
        highs = [f.maximum for f in self.fields if f.maximum is not None]
        if base is float:
            return Annotated[float, msgspec.Meta(ge=max(lows) if lows else None, le=min(highs) if highs else None)]
        if not self.fields:
            return int  # of any size: it becomes text
        low, high = max([-(2.0**62), *lows]), min([2.0**62, *highs])
        return Annotated[int, msgspec.Meta(ge=math.ceil(low), le=math.floor(high))]


def _either(choices: list[Any]) -> Any:
    return functools.reduce(operator.or_, choices)


Tree = dict[str, "Leaf | Tree"]


def leaves_of(tree: Tree) -> Iterator[Leaf]:
    """Every leaf, depth first."""
    for child in tree.values():
        if isinstance(child, Leaf):
            yield child
        else:
            yield from leaves_of(child)


def tree_of(definition: Definition) -> Tree:
    """The values that a definition reads. Raises ValueError if a path goes through another reader's value."""
    tree: Tree = {}
    _leaf(tree, (definition.key,)).is_key = True
    _leaf(tree, (definition.timestamp,)).is_timestamp = True
    _leaf(tree, (definition.event_id,)).is_event_id = True
    for reader in definition.fields:
        _leaf(tree, reader.path).fields.append(reader)
    for slot, leaf in enumerate(leaves_of(tree)):
        leaf.slot = slot
    return tree


def _leaf(tree: Tree, path: tuple[str, ...]) -> Leaf:
    node = tree
    for name in path[:-1]:
        child = node.setdefault(name, {})
        if isinstance(child, Leaf):
            raise ValueError(f"path {'.'.join(path)}: {'.'.join(child.path)} is read as a value, so it has no parts")
        node = child
    found = node.setdefault(path[-1], Leaf(path, 0))
    if not isinstance(found, Leaf):
        raise ValueError(f"path {'.'.join(path)} is read as a value, but other fields read its parts")
    return found


class Shape:
    """The tree as nested structs: decodes an event, gives columns of its leaves."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        names: list[tuple[Any, ...]] = []
        renamed: dict[str, str] = {}
        self._parts: list[tuple[operator.attrgetter[Any], Leaf | Shape]] = []
        for number, (name, child) in enumerate(tree.items()):
            attribute = f"f{number}"
            renamed[attribute] = name
            if isinstance(child, Leaf):
                part: Leaf | Shape = child
                required, annotation, default = child.required, child.annotation(), None
            else:
                part = inner = Shape(child)
                required = any(leaf.required for leaf in leaves_of(child))
                annotation = inner.struct if required else _either([inner.struct, None])
                default = None
            self._parts.append((operator.attrgetter(attribute), part))
            names.append((attribute, annotation) if required else (attribute, annotation, default))
        self.struct: type[Any] = msgspec.defstruct("Event", names, rename=renamed, gc=False, kw_only=True)
        self.nothing: Any = None if any(leaf.required for leaf in leaves_of(tree)) else self.struct()
        """What stands for an absent object, where one may be absent."""

    def getter(self, leaf: Leaf) -> operator.attrgetter[Any]:
        """What takes the value of a leaf that is not inside of an object out of a struct."""
        return next(get for get, part in self._parts if part is leaf)

    def columns(self, structs: list[Any]) -> dict[int, list[Any]]:
        """The values of each leaf, by its slot; null where the value, or an object around it, is absent or null."""
        found: dict[int, list[Any]] = {}
        for get, part in self._parts:
            values = list(map(get, structs))
            if isinstance(part, Leaf):
                found[part.slot] = values
            else:
                nothing = part.nothing
                found.update(part.columns([nothing if value is None else value for value in values]))
        return found

    def build(self, values: dict[int, Any]) -> Any:
        """A struct out of leaf values by slot, whatever their size: what the slow path gives."""
        arguments = {}
        for number, (_, part) in enumerate(self._parts):
            arguments[f"f{number}"] = values[part.slot] if isinstance(part, Leaf) else part.build(values)
        return self.struct(**arguments)
