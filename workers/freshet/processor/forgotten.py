"""Erasures that lie ahead: a partition that is rebuilt must not tell again what is to be forgotten (decision 8)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from freshet.engine.rejection import Rejected
from freshet.processor.records import Records


class Forgotten:
    """Entities whose erasure is further on in the log, as history knew it when the rebuild began.

    Without it the states would still be right from the erasure on; before it they would be made of what history and
    checkpoints still have of the entity, and vectors and dead letters of it would go to their topics once more.
    """

    def __init__(self, offsets: Mapping[str, int] | None = None) -> None:
        """By entity the offset of its last erasure."""
        self._offsets = offsets or {}

    def __bool__(self) -> bool:
        return bool(self._offsets)

    def among(self, keys: Iterable[str]) -> dict[str, int]:
        """Those of these entities that are to be erased, with the offsets of their erasures."""
        return {key: self._offsets[key] for key in keys if key in self._offsets} if self._offsets else {}

    def untold(self, records: Records, rejected: Sequence[Rejected]) -> Sequence[Rejected]:
        """The refused records that may be told of."""
        if not self._offsets:
            return rejected
        return [item for item in rejected if int(records.offset[item.index]) >= self._from(records.key(item.index))]

    def _from(self, key: bytes | None) -> int:
        return self._offsets.get((key or b"").decode(errors="replace"), 0)
