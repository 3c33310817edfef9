"""One partition of the online store as somebody sees it who does not own it: for checkpoints.

Its owner writes all the time, and the store may forget: every read brings `progress` along, so that what was read
belongs to what the first look showed, or is not used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import redis
from redis.cluster import RedisCluster

from freshet.engine.duplicates import DuplicateFilter
from freshet.spec import naming
from freshet.stores import scripts
from freshet.stores.fence import Progress
from freshet.stores.redis import Client, Failures, StoreDown, describe, execute, literal

_MARKS = scripts.load("marks")
_SCANNED = 1000
"""Keys that a server looks at for one SCAN: well under a millisecond."""
_BUCKET_BYTES = 1 << 20


class Moved(Exception):
    """The partition was taken over, or fell back, while it was read: what was read may not belong together."""


@dataclass(frozen=True, slots=True)
class Marks:
    """What a partition was at one moment."""

    progress: Progress
    source: str
    """Id of the topic that its states were made from."""
    duplicates_index: bytes | None
    buckets: dict[int, int]
    """Minute and length of each bucket of the duplicate filter: only so many bytes belong to `progress`."""


class OnlineView:
    """Reads one partition. Raises StoreDown; what it says of others is not changed by it."""

    def __init__(self, client: Client, tag: str) -> None:
        self._client = client
        self._tag = tag

    def marks(self) -> Marks | None:
        """Progress, source and filter of one moment; None without progress. Raises Moved if it does not stand still."""
        minutes: list[int] = []
        keys = [naming.progress_key(self._tag), naming.source_key(self._tag), naming.duplicates_key(self._tag)]
        for _ in range(5):
            buckets = [naming.duplicates_bucket_key(self._tag, minute) for minute in minutes]
            progress, source, index, *lengths = scripts.run(self._client, _MARKS, [*keys, *buckets], [])
            if progress is None:
                return None
            now = sorted(DuplicateFilter(0, index).minutes) if index else []
            if now == minutes:
                found = dict(zip(minutes, lengths, strict=True))
                return Marks(Progress.parse(progress), (source or b"").decode(), index, found)
            minutes = now
        raise Moved(f"{self._tag}: minutes of the duplicate filter come faster than they can be read")

    def states(self, keys: Sequence[str], marks: Marks) -> list[bytes | None]:
        """States of entities as they are now, none of them older than `marks`. Raises Moved."""
        found = self._read("MGET", naming.progress_key(self._tag), *(naming.entity_key(self._tag, k) for k in keys))
        self._require(found[0], marks)
        out: list[bytes | None] = found[1:]
        return out

    def bucket(self, minute: int, marks: Marks) -> bytes:
        """A bucket of the duplicate filter as it was at `marks`. Raises Moved if it is not there any more."""
        key, length = naming.duplicates_bucket_key(self._tag, minute), marks.buckets[minute]
        parts = [
            self._read("GETRANGE", key, begin, min(begin + _BUCKET_BYTES, length) - 1)
            for begin in range(0, length, _BUCKET_BYTES)
        ]
        data = b"".join(parts)
        if len(data) != length:
            raise Moved(f"{self._tag}: a minute of the duplicate filter was dropped while it was read")
        return data

    def entities(self) -> Iterator[list[str]]:
        """Keys of all entities that have a state all the time, each at least once: looks at every key of its server."""
        prefix = naming.entity_key(self._tag, "")
        cursor, size = 0, len(prefix.encode())
        try:
            server = self._server()
            while True:
                cursor, keys = execute(server, "SCAN", cursor, "MATCH", literal(prefix) + "*", "COUNT", _SCANNED)
                yield [key[size:].decode() for key in keys]
                cursor = int(cursor)
                if not cursor:
                    return
        except Failures as error:
            raise StoreDown(describe(error)) from error

    def require(self, marks: Marks) -> None:
        """Raises Moved if the partition is not the one of `marks`, or an older one."""
        self._require(self._read("GET", naming.progress_key(self._tag)), marks)

    def _server(self) -> redis.Redis:
        if not isinstance(self._client, RedisCluster):
            return self._client
        node = self._client.get_node_from_key(self._tag)  # type: ignore[no-untyped-call]
        return self._client.get_redis_connection(node)

    def _read(self, *command: str | int) -> Any:
        try:
            return execute(self._client, *command)
        except Failures as error:
            raise StoreDown(f"{self._tag}: {describe(error)}") from error

    def _require(self, found: bytes | None, marks: Marks) -> None:
        now = None if found is None else Progress.parse(found)
        if now is None or now.token != marks.progress.token or now.seq < marks.progress.seq:
            raise Moved(f"{self._tag}: progress was {marks.progress}, now it is {now or 'not there'}")
