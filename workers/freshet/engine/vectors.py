"""Feature values as plain Python values, for JSON."""

from __future__ import annotations

from typing import Any

import numpy as np

from freshet.engine.column import Column
from freshet.engine.reader import Vectors
from freshet.spec.definition import Definition
from freshet.spec.expr.tree import Type

Value = float | int | bool | str | None


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
