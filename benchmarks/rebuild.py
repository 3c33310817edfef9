"""Losing the whole store: how fast states come back, from Kafka's log and from checkpoints in PostgreSQL.

rebuild.kafka      events a second, beside what the same processor did when it read them for the first time
rebuild.checkpoint entities a second from FLUSHALL until all is complete, beside reading them from PostgreSQL alone
rebuild.seconds    that time itself, beside what reading them alone would take

The states of the checkpoint are real ones of 10,000 users, stored under as many keys as BENCH_STATES says.
"""

from __future__ import annotations

import os
import time
from itertools import cycle

import redis

from benchmarks.events import fill
from benchmarks.processor import EVENTS, until
from benchmarks.results import Figure
from benchmarks.stack import MEASURED, OTHERS, Service, Stack, pinned, stack
from freshet.dev.servers import EmbeddedPostgres
from freshet.engine.duplicates import DuplicateFilter
from freshet.processor.compiled import Compiled
from freshet.spec import naming
from freshet.spec.definition import Source
from freshet.spec.partitioning import partition_of
from freshet.stores import kafka
from freshet.stores.fence import Progress
from freshet.stores.postgres import connect, migrate
from freshet.stores.states import States
from freshet.stores.topics import topic_uuid

STATES = int(os.environ.get("BENCH_STATES", "1000000"))
_USERS = 10_000
_NAMESPACE = "default"


def measure() -> list[Figure]:
    """The same processor, topic and store for all of them."""
    with stack() as running:
        fill(running, EVENTS, _USERS)
        processor = running.service("processor", MEASURED)
        first = until(lambda: processor.metric("events_processed_total"), EVENTS)
        _complete(running)
        blobs = _blobs(running)
        _flush(running)
        again = until(lambda: processor.metric("events_processed_total") - EVENTS, EVENTS)
        _complete(running)
        processor.stop()
        figures = [Figure("rebuild.kafka", again, "events/s", first, "the same processor when it read them first")]
        with pinned(OTHERS):
            server = EmbeddedPostgres(running.folder / "postgres", config={"fsync": "off"}).start()
        try:
            _checkpoint(running, server.url, blobs)
            alone = _read_alone(running, server.url)
            processor = running.service("processor", MEASURED, FRESHET_POSTGRES=server.url)
            seconds = _restore(running, processor)
        finally:
            server.kill()
    rate = STATES / seconds
    figures.append(
        Figure("rebuild.checkpoint", rate, "entities/s", alone, "reading them from PostgreSQL alone, same core")
    )
    figures.append(
        Figure("rebuild.seconds", seconds, f"s for {STATES:,} entities", STATES / alone, "reading them alone")
    )
    return figures


def _tags(running: Stack) -> list[str]:
    fs = running.featureset
    return [naming.tag(_NAMESPACE, fs.name, fs.definition.revision, p) for p in range(fs.source.partitions)]


def _flush(running: Stack) -> None:
    with redis.Redis.from_url(running.valkey.url) as store:
        store.flushall(asynchronous=False)  # what the server frees afterwards is no part of restoring


def _complete(running: Stack, seconds: float = 300) -> None:
    """Until every partition says that it is complete."""
    keys = [naming.progress_key(tag) for tag in _tags(running)]
    end = time.monotonic() + seconds
    with redis.Redis.from_url(running.valkey.url) as store:
        while time.monotonic() < end:
            found: list[bytes | None] = store.mget(keys)
            if all(one is not None and Progress.parse(one).complete for one in found):
                return
            time.sleep(0.02)
    raise RuntimeError("the partitions did not become complete")


def _blobs(running: Stack) -> list[bytes]:
    """States of real users, with the offsets of their own partition left as they are."""
    fs = running.featureset
    keys = [f"user_{n:06d}" for n in range(_USERS)]
    tags = _tags(running)
    places = [partition_of(key, fs.source.partitions, fs.source.partitioner) for key in keys]
    with redis.Redis.from_url(running.valkey.url) as store:
        found = store.mget([naming.entity_key(tags[p], key) for p, key in zip(places, keys, strict=True)])
    return [blob for blob in found if blob is not None]


def _checkpoint(running: Stack, url: str, blobs: list[bytes]) -> None:
    """A checkpoint of STATES entities at the end of every partition's log."""
    fs = running.featureset
    owner = naming.owner(_NAMESPACE, fs.name, fs.definition.revision)
    layout = Compiled.of(fs).layout
    consumer = kafka.consumer(running.kafka_settings, "bench-bounds")
    ends = [kafka.log_bounds(consumer, fs.source.topic, p)[1] for p in range(fs.source.partitions)]
    consumer.close()
    # A state may not be ahead of its log, and partitions are not all equally long.
    offsets, _ = layout.peek(blobs)
    blobs = [blob for blob, offset in zip(blobs, offsets.tolist(), strict=True) if offset <= min(ends)]
    topic_id = topic_uuid(kafka.describe_topic(kafka.admin(running.kafka_settings), fs.source.topic).topic_id)
    index = DuplicateFilter(fs.definition.deduplicate_ms).changes(0).index
    migrate(url)
    with connect(url, statement_ms=3_600_000) as connection, connection.cursor() as cursor:
        for p, end in enumerate(ends):
            cursor.execute(
                'INSERT INTO checkpoints (owner, partition, topic_id, "offset", duplicates_index) '
                "VALUES (%s, %s, %s, %s, %s)",
                (owner, p, topic_id, end, index),
            )
        with cursor.copy(
            'COPY entity_states (owner, partition, entity, "offset", state) FROM STDIN (FORMAT BINARY)'
        ) as copy:
            copy.set_types(["text", "int4", "text", "int8", "bytea"])
            # A partition after another, as a recorder writes them.
            for p, keys in enumerate(_keys_of(fs.source)):
                for key, blob in zip(keys, cycle(blobs), strict=False):
                    copy.write_row((owner, p, key, 1, blob))
    with connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE entity_states")


def _keys_of(source: Source) -> list[list[str]]:
    found: list[list[str]] = [[] for _ in range(source.partitions)]
    for n in range(STATES):
        key = f"customer_{n:08d}"
        found[partition_of(key, source.partitions, source.partitioner)].append(key)
    return found


def _read_alone(running: Stack, url: str) -> float:
    """Entities a second of a process that reads every checkpoint and does nothing with it."""
    fs = running.featureset
    owner = naming.owner(_NAMESPACE, fs.name, fs.definition.revision)
    total, begin = 0, time.monotonic()
    with pinned(MEASURED):
        for p in range(fs.source.partitions):
            with States(url).snapshot(owner, p) as snapshot:
                assert snapshot is not None
                total += sum(map(len, snapshot.states(0, 200)))
    assert total == STATES
    return total / (time.monotonic() - begin)


def _restore(running: Stack, processor: Service) -> float:
    """Seconds from losing everything until everything is complete."""
    _complete(running)
    _flush(running)
    begin = time.monotonic()
    time.sleep(0.6)  # a lost partition is noticed within half a second
    _complete(running)
    seconds = time.monotonic() - begin
    with redis.Redis.from_url(running.valkey.url) as store:
        assert store.dbsize() >= STATES
    return seconds


if __name__ == "__main__":
    from benchmarks.results import publish

    publish(measure(), partial=True)
