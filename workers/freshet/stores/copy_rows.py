"""Rows in PostgreSQL's binary COPY format, made from columns.

https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format": a row is the number of its fields (int16), then
for each the length of its bytes (int32, -1 for null) and the bytes. Neighbouring columns of fixed width become one
numpy structured array; only texts cost Python objects a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from freshet.engine.column import Bools, Ints

HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)
"""What stands before the first row."""
TAIL = b"\xff\xff"
"""What stands after the last row."""

_NULL = b"\xff\xff\xff\xff"
_EPOCH_US = 946_684_800_000_000  # PostgreSQL counts microseconds since 2000
_FIRST_MS, _LAST_MS = -62_135_596_800_000, 253_402_300_799_999  # the years 1 to 9999, which every client can read


@dataclass(frozen=True, slots=True)
class Fixed:
    """A column whose values all have one width."""

    form: str
    """A numpy type: big-endian for numbers."""
    values: Any
    """An array, or one value for all rows."""
    null: Bools | None = None
    """None: no value is null."""


Texts = Sequence[bytes | None]
"""A column of text, json or bytea; None is null."""


def int2(values: Any) -> Fixed:
    """A column of type smallint."""
    return Fixed(">i2", values)


def int4(values: Any) -> Fixed:
    """A column of type integer."""
    return Fixed(">i4", values)


def int8(values: Any) -> Fixed:
    """A column of type bigint."""
    return Fixed(">i8", values)


def constant(value: bytes) -> Fixed:
    """A text, or a uuid's 16 bytes, that all rows share."""
    return Fixed(f"V{len(value)}", np.void(value))


def timestamps(values_ms: Ints, null: Bools | None = None) -> Fixed:
    """A column of type timestamptz from milliseconds since 1970; the years before 1 and after 9999 are cut off."""
    return Fixed(">i8", np.clip(values_ms, _FIRST_MS, _LAST_MS) * 1000 - _EPOCH_US, null)


def utf8(texts: Sequence[str | None]) -> list[bytes | None]:
    """Texts as bytes."""
    try:
        joined = "\0".join(texts)  # type: ignore[arg-type]  # None raises TypeError
    except TypeError:
        return [None if text is None else text.encode() for text in texts]
    parts: list[bytes | None] = list(joined.encode().split(b"\0"))
    return parts if len(parts) == len(texts) else [text.encode() for text in texts if text is not None]


def rows(size: int, columns: Sequence[Fixed | Texts]) -> bytes:
    """`size` rows of these columns, without HEAD and TAIL."""
    if size == 0:
        return b""
    pieces: list[Sequence[bytes]] = []
    fixed: list[Fixed] = []
    for column in columns:
        if isinstance(column, Fixed) and column.null is None:
            fixed.append(column)
            continue
        if fixed or not pieces:
            pieces.append(_fixed(size, fixed, 0 if pieces else len(columns)))
            fixed = []
        if isinstance(column, Fixed):
            pieces.append(_nullable(size, column))
        else:
            pieces += _texts(column)
    if fixed:
        pieces.append(_fixed(size, fixed, 0 if pieces else len(columns)))
    return b"".join(chain.from_iterable(zip(*pieces, strict=True)))


def _fixed(size: int, columns: Sequence[Fixed], fields: int) -> list[bytes]:
    """A piece a row; with `fields` it begins the row."""
    kind: list[tuple[str, str]] = [("fields", ">i2")] if fields else []
    for i, column in enumerate(columns):
        kind += [(f"length{i}", ">i4"), (f"value{i}", column.form)]
    array = np.empty(size, np.dtype(kind))
    if fields:
        array["fields"] = fields
    for i, column in enumerate(columns):
        array[f"length{i}"] = np.dtype(column.form).itemsize
        array[f"value{i}"] = column.values
    return _split(array)


def _nullable(size: int, column: Fixed) -> list[bytes]:
    assert column.null is not None
    whole = _fixed(size, [Fixed(column.form, column.values)], 0)
    return [_NULL if null else piece for piece, null in zip(whole, column.null.tolist(), strict=True)]


def _texts(values: Texts) -> list[Sequence[bytes]]:
    try:
        sizes = np.fromiter(map(len, values), ">i4", len(values))  # type: ignore[arg-type]  # None raises TypeError
    except TypeError:
        sizes = np.fromiter((-1 if v is None else len(v) for v in values), ">i4", len(values))
        values = [v or b"" for v in values]
    return [_split(sizes), values]  # type: ignore[list-item]  # no None is left


def _split(array: NDArray[Any]) -> list[bytes]:
    """The bytes of each element; numpy does it ten times faster than slicing."""
    parts: list[bytes] = array.view(f"V{array.dtype.itemsize}").tolist()
    return parts
