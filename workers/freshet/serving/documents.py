"""JSON documents of entities, put together from prepared fragments.

Around its values a document differs between entities only in the key and in `computed_at`, and all entities of
a vector are read at the same or nearly the same time. So the text between the values is made once for a read
time, window bounds included, and an answer, of however many entities, is one `join`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec

from freshet.engine.reader import Vectors
from freshet.engine.vectors import plain
from freshet.runtime.timestamps import rfc3339
from freshet.serving.selection import Part, Selection
from freshet.serving.values import texts
from freshet.spec.definition import AggregateFeature, Window
from freshet.spec.expr.tree import Type

_encode = msgspec.json.Encoder().encode

STALE = b',"stale":true'
"""What a recorded value, and an answer that has one, says of itself."""


def window_bounds(window: Window, q_ms: int) -> tuple[int, int]:
    """The half-open span of event time, in ms, that a window holds at read time q (design §5)."""
    return (q_ms - window.length_ms) // window.hop_ms * window.hop_ms, q_ms


class PartTexts:
    """The features of one part for every entity of a vector, as JSON texts."""

    def __init__(self, part: Part, vectors: Vectors, stale: bool = False) -> None:
        """`stale`: the values are recorded ones and say so."""
        kinds = [part.served.features[name].type for name in part.names]
        columns = [plain(vectors.columns[name], kind) for name, kind in zip(part.names, kinds, strict=True)]
        self._texts = texts(columns, kinds)
        self._size = len(vectors.q_ms)
        self._q_ms: list[int] = vectors.q_ms.tolist()
        self._part = part
        self.stale = stale
        self._between: dict[tuple[int, bool], list[bytes]] = {}

    def values(self, row: int) -> list[bytes]:
        """The value of each feature of one entity."""
        return self._texts[row :: self._size]

    def between(self, row: int, bounds: bool) -> list[bytes]:
        """What stands before the first, between and after these values: one more than they are.

        With them it is `"name":{"value":…,"computed_at":…},…`, without braces around it.
        """
        q_ms = self._q_ms[row]
        found = self._between.get((q_ms, bounds))
        if found is None:
            found = self._between[q_ms, bounds] = _between(self._part, q_ms, bounds, self.stale)
        return found

    def single(self, row: int, bounds: bool) -> bytes:
        """`"feature":…,"value":…,"computed_at":…` of one entity: the first feature of the part."""
        label = _encode(self._part.labels[0])
        after = _after(self._part, 0, self._q_ms[row], bounds, self.stale)
        return b'"feature":%b,"value":%b%b' % (label, self._texts[row], after)


class Block:
    """Vectors that were computed together, with their texts and plain columns: made when first needed, for all answers
    that use them."""

    __slots__ = ("_columns", "_texts", "stale", "vectors")

    def __init__(self, vectors: Vectors, stale: bool = False) -> None:
        """`stale`: they are recorded ones."""
        self.vectors = vectors
        self.stale = stale
        self._texts: dict[Part, PartTexts] = {}
        self._columns: dict[str, list[Any]] = {}

    def texts(self, part: Part) -> PartTexts:
        """The features of a part."""
        found = self._texts.get(part)
        if found is None:
            found = self._texts[part] = PartTexts(part, self.vectors, self.stale)
        return found

    def column(self, name: str, kind: Type) -> list[Any]:
        """The plain values of one feature, a row an entity."""
        found = self._columns.get(name)
        if found is None:
            found = self._columns[name] = plain(self.vectors.columns[name], kind)
        return found


def _between(part: Part, q_ms: int, bounds: bool, stale: bool) -> list[bytes]:
    begins = _begins(part)
    if bounds:
        ends = [_after(part, index, q_ms, bounds, stale) + b"}" for index in range(len(begins))]
    else:
        ends = [_computed(q_ms, stale) + b"}"] * len(begins)
    inner = [end + b"," + begin for end, begin in zip(ends, begins[1:], strict=False)]
    return [begins[0], *inner, ends[-1]]


@lru_cache(1024)
def _begins(part: Part) -> list[bytes]:
    """`"name":{"value":` of each feature."""
    return [b'%b:{"value":' % _encode(label) for label in part.labels]


def _computed(q_ms: int, stale: bool) -> bytes:
    return b',"computed_at":"%b"%b' % (rfc3339(q_ms).encode(), STALE if stale else b"")


def _after(part: Part, index: int, q_ms: int, bounds: bool, stale: bool) -> bytes:
    after = _computed(q_ms, stale)
    feature = part.served.features[part.names[index]]
    if bounds and isinstance(feature, AggregateFeature) and feature.window is not None:
        start, end = window_bounds(feature.window, q_ms)
        after += b',"window":{"start":"%b","end":"%b"}' % (rfc3339(start).encode(), rfc3339(end).encode())
    return after


class Documents:
    """Documents one after another, with what stands before the first and after the last of them.

    Kept as two lists that alternate, values and what is between them: strided copies then bring them together, and
    nothing is done in Python for each value.
    """

    def __init__(self, selection: Selection, before: bytes = b"", between: bytes = b"") -> None:
        self._selection = selection
        self._head = b"{%b:" % _encode(selection.key)
        self._tail = before
        """What stands behind the last document so far."""
        self._separator = between
        self._values: list[bytes] = []
        self._between: list[bytes] = []

    def add(self, key: str, places: Sequence[tuple[Block, int]]) -> None:
        """The features of an entity; `places` is where the values of each part stand."""
        lead = self._lead(key) + b',"features":{'
        stale = False
        for part, (block, row) in zip(self._selection.parts, places, strict=True):
            texts = block.texts(part)
            self._values.append(lead)
            self._values += texts.values(row)
            self._between += texts.between(row, self._selection.bounds)
            stale = stale or block.stale
            lead = b","
        self._tail = b"}%b}" % STALE if stale else b"}}"

    def add_error(self, key: str, error: object) -> None:
        """Why an entity has no features."""
        self._values.append(self._lead(key) + b',"error":')
        self._between.append(_encode(error))
        self._tail = b"}"

    def _lead(self, key: str) -> bytes:
        """The beginning of the next document, with the end of the one before."""
        return b"%b%b%b%b" % (self._tail, self._separator if self._values else b"", self._head, _encode(key))

    def text(self, after: bytes = b"") -> bytes:
        """The whole."""
        pieces = [b""] * (2 * len(self._values) + 1)
        pieces[:-1:2] = self._values
        pieces[1::2] = self._between
        pieces[-1] = self._tail + after
        return b"".join(pieces)


def single_document(key_name: str, key: str, single: bytes) -> bytes:
    """The answer of `GET /features/{entity}/{feature}`."""
    return b"{%b:%b,%b}" % (_encode(key_name), _encode(key), single)
