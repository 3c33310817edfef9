"""Partitions of many keys at once; `freshet.spec.partitioning` is the rule."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from freshet.engine.column import Ints
from freshet.spec.partitioning import MURMUR2_M, MURMUR2_R, MURMUR2_SEED, partition_of

_SHIFT, _M = np.uint32(MURMUR2_R), np.uint32(MURMUR2_M)


def partitions_of(keys: Sequence[str], partitions: int, partitioner: str) -> Ints:
    """`partition_of` each key. Raises ValueError as it does."""
    if partitioner != "murmur2" or partitions < 1:
        return np.array([partition_of(key, partitions, partitioner) for key in keys], np.int64)
    data = [key.encode() for key in keys]
    sizes = np.fromiter(map(len, data), np.int64, len(data))
    out = np.empty(len(data), np.int64)
    for size in np.unique(sizes).tolist():
        at = np.flatnonzero(sizes == size)
        rows = np.zeros((len(at), -size % 4 + size), np.uint8)
        rows[:, :size] = np.frombuffer(b"".join([data[i] for i in at.tolist()]), np.uint8).reshape(len(at), size)
        out[at] = (_murmur2(rows.view("<u4"), size) & np.uint32(0x7FFFFFFF)) % partitions
    return out


def _murmur2(words: NDArray[np.uint32], size: int) -> NDArray[np.uint32]:
    """Of rows of `size` bytes, filled up with zeros to whole words."""
    h = np.full(len(words), MURMUR2_SEED ^ size, np.uint32)
    for word in words.T[: size // 4]:
        k = word * _M
        h = (h * _M) ^ ((k ^ (k >> _SHIFT)) * _M)
    if size % 4:
        h = (h ^ words[:, -1]) * _M
    h = (h ^ (h >> np.uint32(13))) * _M
    return h ^ (h >> np.uint32(15))
