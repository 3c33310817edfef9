"""The environment variables of a service as text for `--help`, taken from the settings themselves."""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import itertools
import sys
from collections.abc import Iterator
from typing import Any


def help_lines(settings: type[Any]) -> list[str]:
    """One line a variable: name, meaning, default."""
    return [f"{name}: {meaning} {default}" for name, meaning, default in _variables(settings)]


def _variables(settings: type[Any]) -> Iterator[tuple[str, str, str]]:
    meanings = _field_texts(settings)
    for field in dataclasses.fields(settings):
        if "nested" in field.metadata:
            yield from _variables(field.metadata["nested"])
            continue
        required = field.default is dataclasses.MISSING
        default = "Required." if required else f"Default: {'none' if field.default in (None, ()) else field.default}."
        yield field.metadata["variable"].name, meanings.get(field.name, ""), default


def _field_texts(settings: type[Any]) -> dict[str, str]:
    """The sentence under each field: Python keeps no docstring of a field, so it is read from the source."""
    found: dict[str, str] = {}
    for base in reversed(settings.__mro__):
        if not dataclasses.is_dataclass(base):
            continue
        body = _classes(base.__module__)[base.__name__].body
        for field, text in itertools.pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
                assert isinstance(text.value, ast.Constant)
                found[field.target.id] = " ".join(str(text.value.value).split())
    return found


@functools.cache
def _classes(module: str) -> dict[str, ast.ClassDef]:
    """The classes of a module by name; read once, as every start of a service needs them all."""
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
