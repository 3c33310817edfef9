"""Columns of values to JSON texts: one encoder call for a whole vector, no object per feature.

Numbers, booleans and nulls of all columns go through one `msgspec` call as one flat list whose text is cut at
the commas (about 40 ns a value); texts may hold commas and go one by one. Row by row, as answers need them: texts that
were made side by side also lie side by side in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import msgspec

from freshet.spec.expr.tree import Type

_encode = msgspec.json.Encoder().encode


def texts(columns: Sequence[list[Any]], kinds: Sequence[Type]) -> list[bytes]:
    """The JSON text of every value of k columns of one length: value i of column j stands at i * k + j."""
    single = [_may_hold_commas(kind) for kind in kinds]
    plain = [[None] * len(column) if one else column for column, one in zip(columns, single, strict=True)]
    flat: list[Any] = list(chain.from_iterable(zip(*plain, strict=True)))
    if not flat:
        return []
    found = _encode(flat)[1:-1].split(b",")
    for j, (column, one) in enumerate(zip(columns, single, strict=True)):
        if one:
            found[j :: len(columns)] = [_encode(value) for value in column]
    return found


def _may_hold_commas(kind: Type) -> bool:
    return kind in (Type.TEXT, Type.LIST)
