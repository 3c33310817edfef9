"""Which partition a key lies on, as its producer decides it (design §6.3).

Readers find an entity's shard by this and the processor tells misrouted events by it, so each function must agree with
the producers bit for bit.
"""

from __future__ import annotations

import zlib
from functools import lru_cache

PARTITIONERS = ("murmur2", "consistent")
"""Java's default, and librdkafka's."""

MURMUR2_SEED = 0x9747B28C
MURMUR2_M = 0x5BD1E995
MURMUR2_R = 24
_MASK = 0xFFFFFFFF


@lru_cache(1 << 16)
def partition_of(key: str, partitions: int, partitioner: str) -> int:
    """The partition of a key's UTF-8 bytes. Raises ValueError for an unknown partitioner or an empty topic."""
    if partitions < 1:
        raise ValueError(f"partitions: {partitions} given, at least 1 is needed")
    if partitioner == "murmur2":
        return (murmur2(key.encode()) & 0x7FFFFFFF) % partitions
    if partitioner == "consistent":
        return zlib.crc32(key.encode()) % partitions
    raise ValueError(f"partitioner: {partitioner!r} given, allowed are {', '.join(PARTITIONERS)}")


def murmur2(data: bytes) -> int:
    """MurmurHash2 with Kafka's seed, as an unsigned 32-bit number."""
    size = len(data)
    h = MURMUR2_SEED ^ size
    whole = size & ~3
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little") * MURMUR2_M & _MASK
        k = (k ^ k >> MURMUR2_R) * MURMUR2_M & _MASK
        h = (h * MURMUR2_M & _MASK) ^ k
    if size > whole:
        h = (h ^ int.from_bytes(data[whole:], "little")) * MURMUR2_M & _MASK
    h = (h ^ h >> 13) * MURMUR2_M & _MASK
    return h ^ h >> 15
