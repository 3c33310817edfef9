"""Freeing the online keys of a revision that nobody needs any more, at a rate that a busy store does not feel."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator

import redis
from redis.cluster import RedisCluster

from freshet.spec import naming
from freshet.stores.redis import Client, Failures, StoreDown, describe, execute, literal

_SCANNED = 1000
"""Keys that a server looks at for one SCAN: well under a millisecond."""
_CHUNK = 500
_PASSES = 5


class StillWritten(Exception):
    """Keys keep coming back: somebody writes them."""


class Purge:
    """Deletes all keys of some partitions of one revision; may be repeated, and ended at any time."""

    def __init__(
        self, client: Client, namespace: str, featureset: str, revision: str, partitions: int, rate: int
    ) -> None:
        """At most about `rate` keys a second are deleted."""
        self._client = client
        self._tags = [naming.tag(namespace, featureset, revision, p) for p in range(partitions)]
        self._heads = {tag.encode() for tag in self._tags}
        self._pattern = literal(naming.tag(namespace, featureset, revision, 0)[: -len("0}")]) + "*"
        self._chunk = max(1, min(_CHUNK, rate // 10))
        self._rate = rate
        self._ready = 0.0
        self.freed = 0
        """Keys that were deleted so far."""

    def run(self, tell: Callable[[int], None] = lambda freed: None) -> int:
        """Deletes, until a whole look finds nothing; returns how many keys there were. `tell` is called as it goes on.

        Raises StoreDown, or StillWritten if keys are found again and again.
        """
        try:
            # Without progress readers answer that a partition is not there: never that an entity has no events.
            for tag in self._tags:
                self._unlink([naming.progress_key(tag).encode()])
            for _ in range(_PASSES):
                before = self.freed
                for server in self._servers():
                    self._sweep(server, tell)
                if self.freed == before:
                    return self.freed
        except Failures as error:
            raise StoreDown(describe(error)) from error
        raise StillWritten(f"keys of {self._tags[0]} and its like keep coming back: end their processors first")

    def _servers(self) -> list[redis.Redis]:
        if not isinstance(self._client, RedisCluster):
            return [self._client]
        primaries = self._client.get_primaries()  # type: ignore[no-untyped-call]
        return [self._client.get_redis_connection(node) for node in primaries]

    def _sweep(self, server: redis.Redis, tell: Callable[[int], None]) -> None:
        waiting: dict[bytes, list[bytes]] = defaultdict(list)
        for key in self._scan(server):
            head = key[: key.find(b"}") + 1]
            if head not in self._heads:
                continue  # of a revision whose name begins like this one's
            chunk = waiting[head]
            chunk.append(key)
            if len(chunk) >= self._chunk:
                self._unlink(waiting.pop(head))
                tell(self.freed)
        for chunk in waiting.values():
            self._unlink(chunk)
            tell(self.freed)

    def _scan(self, server: redis.Redis) -> Iterator[bytes]:
        cursor = 0
        while True:
            cursor, keys = execute(server, "SCAN", cursor, "MATCH", self._pattern, "COUNT", _SCANNED)
            yield from keys
            cursor = int(cursor)
            if not cursor:
                return

    def _unlink(self, keys: list[bytes]) -> None:
        """Deletes keys of one partition, and so of one shard, when their turn has come."""
        now = time.monotonic()
        if now < self._ready:
            time.sleep(self._ready - now)
        self._ready = max(now, self._ready) + len(keys) / self._rate
        self.freed += execute(self._client, "UNLINK", *keys)
