"""Feature values as plain Python values, for JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from freshet.engine.column import Column
from freshet.engine.reader import Vectors
from freshet.spec.definition import Definition
from freshet.spec.expr.tree import Type

Value = float | int | bool | str | list[float | int | bool | str] | None


def plain(column: Column, kind: Type) -> list[Any]:
    """A column as Python values: int for INTEGER, None for null, timestamps as whole milliseconds."""
    values = column.values
    if kind in (Type.INTEGER, Type.TIMESTAMP):
        values = np.asarray(values, np.float64).astype(np.int64)
    out: list[Any] = values.tolist()
    if column.valid is not None and not column.valid.all():
        for i in np.flatnonzero(~column.valid).tolist():
            out[i] = None
    return out


def feature_rows(vectors: Vectors, definition: Definition) -> list[dict[str, Value]]:
    """One dict of feature name → value an entity."""
    names = [f.name for f in definition.features]
    lists = [plain(vectors.columns[f.name], f.type) for f in definition.features]
    if not lists:
        return [{} for _ in vectors.q_ms]
    return [dict(zip(names, row, strict=True)) for row in zip(*lists, strict=True)]


class VectorTexts:
    """Vectors as the JSON texts of `feature-events`, through structs that msgspec makes and encodes in C."""

    def __init__(self, definition: Definition, head: Mapping[str, str]) -> None:
        """`head`: members that stand before those of the vector, the same in each."""
        self._features = definition.features
        names = [(f"f{i}", f.name) for i, f in enumerate(self._features)]
        self._row = msgspec.defstruct("Features", [(name, Any) for name, _ in names], rename=dict(names), gc=False)
        members = [*head, definition.key, "partition", "offset", "as_of", "features"]
        names = [(f"f{i}", name) for i, name in enumerate(members)]
        self._vector = msgspec.defstruct("Vector", [(name, Any) for name, _ in names], rename=dict(names), gc=False)
        self._head = tuple(head.values())
        self._encode = msgspec.json.Encoder().encode

    def texts(self, keys: Sequence[str], vectors: Vectors, partitions: Iterable[int]) -> list[bytes]:
        """One JSON text an entity; `partitions` has one entry each."""
        lists = [plain(vectors.columns[f.name], f.type) for f in self._features]
        rows: Iterable[Any] = map(self._row, *lists) if lists else (self._row() for _ in keys)
        same = [repeat(value) for value in self._head]
        as_of = vectors.q_ms.tolist()
        made = map(self._vector, *same, keys, partitions, vectors.offset.tolist(), as_of, rows)
        return list(map(self._encode, made))


def from_rows(
    rows: Sequence[Mapping[str, Value]], definition: Definition, as_of_ms: Sequence[int], offset: Sequence[int]
) -> Vectors:
    """The inverse of `feature_rows`: recorded values as they were at `as_of_ms`. Their newest event is not known: 0.

    Raises ValueError for a row that is not one of this definition.
    """
    columns = {f.name: _column([_value(row, f.name, f.type) for row in rows], f.type) for f in definition.features}
    at = np.array(as_of_ms, np.int64)
    return Vectors(at, np.array(offset, np.int64), np.zeros_like(at), columns, 0)


_DTYPES: dict[Type, type] = {Type.TEXT: object, Type.LIST: object, Type.BOOLEAN: np.bool_}
_KINDS: dict[Type, tuple[type, ...]] = {Type.TEXT: (str,), Type.LIST: (list,), Type.BOOLEAN: (bool,)}
_EMPTY: dict[Type, Value] = {Type.TEXT: "", Type.LIST: [], Type.BOOLEAN: False}


def _value(row: Mapping[str, Value], name: str, kind: Type) -> Value:
    if name not in row:
        raise ValueError(f"there is no value of the feature {name!r}")
    value = row[name]
    allowed = _KINDS.get(kind, (int, float))
    if value is not None and (not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed)):
        raise ValueError(f"the value of the feature {name!r} is not of the type {kind.value}")
    return value


def _column(values: Sequence[Value], kind: Type) -> Column:
    valid = np.array([value is not None for value in values], np.bool_)
    filled = [_EMPTY.get(kind, 0.0) if value is None else value for value in values]
    array: NDArray[Any] = np.empty(len(filled), _DTYPES.get(kind, np.float64))
    for i, value in enumerate(filled):  # one by one: lists of one length would become rows of a table
        array[i] = value
    return Column(array, None if valid.all() else valid)
