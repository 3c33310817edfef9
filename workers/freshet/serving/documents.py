"""JSON documents of single entities, put together from prepared fragments.

Around its values a document differs between entities only in the key and in `computed_at`, and all entities of
a vector are read at the same or nearly the same time. So the text between the values is made once for a read
time, window bounds included, and a document is one `join`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import msgspec

from freshet.engine.reader import Vectors
from freshet.engine.vectors import plain
from freshet.serving.selection import Part
from freshet.serving.timestamps import rfc3339
from freshet.serving.values import texts
from freshet.spec.definition import AggregateFeature, Window

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
        self._between: dict[tuple[int, bool], list[bytes | None]] = {}

    def members(self, row: int, bounds: bool) -> bytes:
        """`"name":{"value":…,"computed_at":…},…` of one entity, without braces around it."""
        q_ms = self._q_ms[row]
        between = self._between.get((q_ms, bounds))
        if between is None:
            between = self._between[q_ms, bounds] = _between(self._part, q_ms, bounds, self.stale)
        pieces = between.copy()
        pieces[1::2] = self._texts[row :: self._size]
        return b"".join(pieces)  # type: ignore[arg-type]  # the places of the values are filled now

    def single(self, row: int, bounds: bool) -> bytes:
        """`"feature":…,"value":…,"computed_at":…` of one entity: the first feature of the part."""
        label = _encode(self._part.labels[0])
        after = _after(self._part, 0, self._q_ms[row], bounds, self.stale)
        return b'"feature":%b,"value":%b%b' % (label, self._texts[row], after)


def _between(part: Part, q_ms: int, bounds: bool, stale: bool) -> list[bytes | None]:
    """What stands around the values, with None where a value goes."""
    found: list[bytes | None] = [None] * (2 * len(part.labels) + 1)
    begins = _begins(part)
    found[0] = begins[0]
    if bounds:
        ends = [_after(part, index, q_ms, bounds, stale) + b"}" for index in range(len(begins))]
        found[2::2] = [end + b"," + begin for end, begin in zip(ends, begins[1:], strict=False)] + [ends[-1]]
    else:
        end = _computed(q_ms, stale) + b"}"
        found[2::2] = [end + b"," + begin for begin in begins[1:]] + [end]
    return found


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


def document(key_name: bytes, key: str, members: Sequence[bytes], stale: bool = False) -> bytes:
    """The answer of `GET /features/{entity}`; `key_name` is JSON text, `stale` whether any of its values is."""
    return b'{%b:%b,"features":{%b}%b}' % (key_name, _encode(key), b",".join(members), STALE if stale else b"")


def single_document(key_name: bytes, key: str, single: bytes) -> bytes:
    """The answer of `GET /features/{entity}/{feature}`."""
    return b"{%b:%b,%b}" % (key_name, _encode(key), single)
