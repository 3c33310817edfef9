"""A map from 64-bit hashes to int64 that looks up whole arrays: open addressing with linear probing.

A Python dict of as many entries takes five times the memory and a Python object for every key.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from freshet.engine.column import Ints

Hashes = NDArray[np.uint64]
ABSENT = np.iinfo(np.int64).min


class HashTable:
    """Hash 0 marks an empty place: callers never pass it."""

    def __init__(self, capacity: int = 1024) -> None:
        self._keys = np.zeros(capacity, np.uint64)
        self._values = np.zeros(capacity, np.int64)
        self._used = 0

    def get(self, hashes: Hashes) -> Ints:
        """Values of these hashes; ABSENT where there is none."""
        out = np.full(len(hashes), ABSENT, np.int64)
        mask = np.uint64(len(self._keys) - 1)
        left = np.arange(len(hashes))
        place = (hashes & mask).astype(np.int64)
        while len(left):
            key = self._keys[place]
            hit = key == hashes[left]
            out[left[hit]] = self._values[place[hit]]
            going = ~hit & (key != 0)
            left = left[going]
            place = (place[going] + 1) & int(mask)
        return out

    def put(self, hashes: Hashes, values: Ints, *, keep_from: int) -> None:
        """Sets values of hashes that differ from each other. When full, drops entries with values below `keep_from`."""
        if 2 * (self._used + len(hashes)) > len(self._keys):
            self._rehash(len(hashes), keep_from)
        self._insert(hashes, values)

    def items(self) -> tuple[Hashes, Ints]:
        """All hashes and their values."""
        used = self._keys != 0
        return self._keys[used], self._values[used]

    def _insert(self, hashes: Hashes, values: Ints) -> None:
        mask = len(self._keys) - 1
        place = (hashes & np.uint64(mask)).astype(np.int64)
        while len(hashes):
            empty = self._keys[place] == 0
            # Two hashes may want one empty place: the later write wins, the other sees that and goes on.
            self._keys[place[empty]] = hashes[empty]
            mine = self._keys[place] == hashes
            self._values[place[mine]] = values[mine]
            self._used += int(np.count_nonzero(mine & empty))
            hashes, values, place = hashes[~mine], values[~mine], (place[~mine] + 1) & mask

    def _rehash(self, more: int, keep_from: int) -> None:
        hashes, values = self.items()
        live = values >= keep_from
        hashes, values = hashes[live], values[live]
        capacity = len(self._keys)
        while 4 * (len(hashes) + more) > capacity:
            capacity *= 2
        self._keys = np.zeros(capacity, np.uint64)
        self._values = np.zeros(capacity, np.int64)
        self._used = 0
        self._insert(hashes, values)
