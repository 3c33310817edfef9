"""Texts in states: a number in place of the text where it is counted and compared, and a table of the texts.

The number is 53 bits of XXH3 of the whole text, exact in a float64: among 300 texts of one entity two are alike once
in 2·10^11 times. Of a text the table keeps its first characters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from freshet.engine.column import Bools, Floats
from freshet.spec.definition import TEXT_CHARACTERS

Table = dict[float, str]
"""Texts by their numbers."""

_ENTRY = np.dtype([("id", "<f8"), ("length", "<u4"), ("spare", "<u4")])


@lru_cache(maxsize=65_536)
def text_id(text: str) -> float:
    """The number that stands for the text."""
    return float(xxhash.xxh3_64_intdigest(text.encode()) >> 11)


def text_ids(texts: NDArray[Any], seen: Bools) -> Floats:
    """The number of each text; 0 where it is not seen."""
    out = np.zeros(len(texts))
    out[seen] = np.fromiter(map(text_id, texts[seen]), np.float64, int(np.count_nonzero(seen)))
    return out


def kept(text: str) -> str:
    """What is kept of a text."""
    return text[:TEXT_CHARACTERS]


def pack_texts(table: Table) -> bytes:
    """A table as bytes, a multiple of 8 of them."""
    if not table:
        return b""
    texts = [text.encode() for text in table.values()]
    entries = np.zeros(len(texts), _ENTRY)
    entries["id"] = list(table)
    entries["length"] = list(map(len, texts))
    body = b"".join(texts)
    return len(texts).to_bytes(8, "little") + entries.tobytes() + body + bytes(-len(body) % 8)


def unpack_texts(raw: bytes) -> Table:
    """The reverse of `pack_texts`."""
    if not raw:
        return {}
    count = int.from_bytes(raw[:8], "little")
    entries = np.frombuffer(raw, _ENTRY, count, 8)
    at = 8 + entries.nbytes
    table: Table = {}
    for number, length in zip(entries["id"].tolist(), entries["length"].tolist(), strict=True):
        table[number] = raw[at : at + length].decode()
        at += length
    return table


def texts_of(numbers: Iterable[float], tables: Sequence[Table], owner: Iterable[int]) -> list[str]:
    """The text of each number, out of its owner's table."""
    return [tables[i][number] for number, i in zip(numbers, owner, strict=True)]
