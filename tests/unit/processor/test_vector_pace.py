"""How far apart an entity's vectors lie: `output.every`, with a backlog longer, at a hand-over not at all."""

from __future__ import annotations

import json
from concurrent.futures import Executor
from typing import Any, cast

import numpy as np

from freshet.engine.state_table import StateTable
from freshet.processor.compiled import Compiled
from freshet.processor.outputs import OutputFailed, Outputs
from freshet.processor.partition import PartitionOwner
from freshet.processor.rebuild import Rebuild
from freshet.processor.records import Records
from freshet.processor.runner import Pace, Runner
from freshet.processor.vectors import due_vectors, tell_together
from freshet.spec import headers
from freshet.spec.load import parse_featureset
from freshet.spec.partitioning import partition_of
from freshet.stores.deliveries import Continuity
from freshet.stores.fence import PartitionFence, Script

PARTITIONS = 3
MANIFEST = {
    "apiVersion": "freshet.dev/v1alpha1",
    "kind": "FeatureSet",
    "metadata": {"name": "clicks"},
    "spec": {
        "version": "v1",
        "entity": {"name": "user", "key": "user_id"},
        "source": {"topic": "raw-events", "partitions": PARTITIONS, "fields": {"amount": {"type": "double"}}},
        "features": [{"name": "n", "aggregate": "count", "windows": ["1h"]}],
        "output": {"topic": "feature-events", "every": "1s"},
    },
}
T0 = 1_800_000_000_000
FEATURESET = parse_featureset(json.dumps(MANIFEST))
COMPILED = Compiled.of(FEATURESET)
_KEYS = {partition_of(key, PARTITIONS, FEATURESET.source.partitioner): key for key in map(str, range(99))}
USERS = [_KEYS[partition] for partition in range(PARTITIONS)]
"""One user of each partition."""


class Producer:
    """Acknowledges at once, and remembers user, partition and count of each vector."""

    def __init__(self) -> None:
        self.vectors: list[tuple[str, int, int]] = []
        self.refuses: bytes | None = None

    def produce(self, _topic: str, *, key: bytes, value: bytes, on_delivery: Any, **_: Any) -> None:
        if key == self.refuses:
            on_delivery("too large", None)
            raise BufferError
        vector = json.loads(value)
        self.vectors.append((vector["user_id"], vector["partition"], vector["features"]["n_1h"]))
        on_delivery(None, None)

    def poll(self, _seconds: float) -> None:
        pass

    @property
    def counts(self) -> list[int]:
        return [count for _, _, count in self.vectors]


class Fence:
    """A store with nothing in it, which takes everything."""

    def load(self, keys: list[str]) -> list[None]:
        return [None for _ in keys]

    def prepare(self, *_: object, **__: object) -> Script:
        return Script(b"", b"", (), ())


class Clicks:
    """Events of a user of each partition, a flush after each."""

    def __init__(self, wait_ms: int = 0) -> None:
        self.producer, self.next = Producer(), [0] * PARTITIONS
        table = StateTable(FEATURESET.definition, COMPILED.layout)
        self.owners = [self._owner(partition, table) for partition in range(PARTITIONS)]
        executor, continuity, pace = cast(Executor, None), cast(Continuity, None), Pace(coalesce_ms=wait_ms)
        self.runners = [Runner(owner, executor, pace, Rebuild(), continuity) for owner in self.owners]

    def _owner(self, partition: int, table: StateTable) -> PartitionOwner:
        outputs = Outputs(
            *(cast(Any, self.producer), FEATURESET),
            source={headers.PARTITION: str(partition)},
            dead_letter_topic="dead",
        )
        return PartitionOwner(
            FEATURESET, partition, cast(PartitionFence, Fence()), outputs, compiled=COMPILED, table=table
        )

    def take(self, at_ms: int, partition: int = 0) -> None:
        now, user = T0 + at_ms, USERS[partition]
        value = json.dumps({"event_id": f"e{at_ms}", "user_id": user, "timestamp": now, "amount": 1.0}).encode()
        one = np.array([self.next[partition]], np.int64)
        records = Records(one, np.array([now], np.int64), [value], lambda _: user.encode())
        self.owners[partition].take(records, now)
        self.next[partition] += 1

    def tell(self, at_ms: int, *, everything: bool = False) -> list[tuple[PartitionOwner, OutputFailed]]:
        now = T0 + at_ms
        every = [(owner, owner.untold(now)) for owner in self.owners]
        return tell_together(COMPILED, every if everything else due_vectors(self.runners, now, behind=False), now)

    def click(self, at_ms: int, *, everything: bool = False) -> int:
        """Returns the offset that `progress` has afterwards."""
        self.take(at_ms)
        assert self.tell(at_ms, everything=everything) == []
        flush = self.owners[0].begin_flush(T0 + at_ms)
        assert flush is not None
        self.owners[0].flushed()
        return flush.offset


def test_vectors_of_an_entity_lie_so_far_apart_as_the_manifest_says() -> None:
    clicks = Clicks()
    offsets = [clicks.click(at) for at in (0, 500, 890, 1_000, 1_500, 2_100)]
    assert clicks.producer.counts == [1, 4, 6]
    assert offsets == [1, 1, 1, 4, 4, 6], "what waits for its vector holds the offset back"


def test_they_lie_further_apart_where_a_partition_waits_longer() -> None:
    clicks = Clicks(wait_ms=3_000)
    for at in (0, 1_000, 2_890, 3_000, 4_100, 6_001):
        clicks.click(at)
    assert clicks.producer.counts == [1, 4, 6]


def test_at_a_hand_over_all_are_sent() -> None:
    clicks = Clicks(wait_ms=5_000)
    assert clicks.click(0) == 1
    assert clicks.click(100, everything=True) == 2
    assert clicks.producer.counts == [1, 2]


def test_those_of_all_partitions_are_sent_together_and_no_more_often_than_every_100_ms() -> None:
    clicks = Clicks()
    clicks.take(0, 0)
    clicks.tell(0)
    for at, partition in ((30, 1), (60, 2)):
        clicks.take(at, partition)
        clicks.tell(at)
    clicks.tell(100)
    assert clicks.producer.vectors == [(USERS[0], 0, 1), (USERS[1], 1, 1), (USERS[2], 2, 1)]
    assert [owner.told_ms - T0 for owner in clicks.owners] == [0, 100, 100]


def test_one_that_kafka_refuses_is_its_partitions_trouble_alone() -> None:
    clicks = Clicks()
    for partition in range(PARTITIONS):
        clicks.take(0, partition)
    clicks.producer.refuses = USERS[1].encode()
    assert [owner.partition for owner, _ in clicks.tell(0)] == [1]
    assert clicks.producer.vectors == [(USERS[0], 0, 1), (USERS[2], 2, 1)]
