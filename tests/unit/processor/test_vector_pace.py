"""How far apart an entity's vectors lie: `output.every`, with a backlog longer, at a hand-over not at all."""

from __future__ import annotations

import json
from typing import Any, cast

import numpy as np

from freshet.processor.outputs import Outputs
from freshet.processor.partition import Compiled, PartitionOwner
from freshet.processor.records import Records
from freshet.spec import headers
from freshet.spec.load import parse_featureset
from freshet.stores.fence import PartitionFence, Script

MANIFEST = {
    "apiVersion": "freshet.dev/v1alpha1",
    "kind": "FeatureSet",
    "metadata": {"name": "clicks"},
    "spec": {
        "version": "v1",
        "entity": {"name": "user", "key": "user_id"},
        "source": {"topic": "raw-events", "partitions": 1, "fields": {"amount": {"type": "double"}}},
        "features": [{"name": "n", "aggregate": "count", "windows": ["1h"]}],
        "output": {"topic": "feature-events", "every": "1s"},
    },
}
T0 = 1_800_000_000_000


class Producer:
    """Acknowledges at once, and remembers the values."""

    def __init__(self) -> None:
        self.counts: list[int] = []

    def produce(self, _topic: str, *, value: bytes, on_delivery: Any, **_: Any) -> None:
        self.counts.append(json.loads(value)["features"]["n_1h"])
        on_delivery(None, None)


class Fence:
    """A store with nothing in it, which takes everything."""

    def load(self, keys: list[str]) -> list[None]:
        return [None for _ in keys]

    def prepare(self, *_: object, **__: object) -> Script:
        return Script(b"", b"", (), ())


class Clicks:
    """One user's events, a flush after each."""

    def __init__(self) -> None:
        featureset = parse_featureset(json.dumps(MANIFEST))
        self.producer, self.next = Producer(), 0
        source = {headers.PARTITION: "0"}
        outputs = Outputs(cast(Any, self.producer), featureset, source=source, dead_letter_topic="dead")
        fence = cast(PartitionFence, Fence())
        self.owner = PartitionOwner(featureset, 0, fence, outputs, compiled=Compiled.of(featureset))

    def click(self, at_ms: int, **options: Any) -> int:
        """Returns the offset that `progress` has afterwards."""
        now = T0 + at_ms
        value = json.dumps({"event_id": f"e{at_ms}", "user_id": "a", "timestamp": now, "amount": 1.0}).encode()
        one = np.array([self.next], np.int64)
        self.owner.take(Records(one, np.array([now], np.int64), [value], lambda _: b"a"), now)
        self.next += 1
        flush = self.owner.begin_flush(now, **options)
        assert flush is not None
        self.owner.flushed()
        return flush.offset


def test_vectors_of_an_entity_lie_so_far_apart_as_the_manifest_says() -> None:
    clicks = Clicks()
    offsets = [clicks.click(at) for at in (0, 500, 890, 1_000, 1_500, 2_100)]
    assert clicks.producer.counts == [1, 4, 6]
    assert offsets == [1, 1, 1, 4, 4, 6], "what waits for its vector holds the offset back"


def test_with_a_backlog_they_lie_further_apart() -> None:
    clicks = Clicks()
    for at in (0, 1_000, 2_890, 3_000, 4_100):
        clicks.click(at, outputs_wait_ms=3_000)
    assert clicks.producer.counts == [1, 4]
    clicks.click(4_200, outputs_wait_ms=10)
    assert clicks.producer.counts == [1, 4, 6]


def test_at_a_hand_over_all_are_sent() -> None:
    clicks = Clicks()
    assert clicks.click(0) == 1
    assert clicks.click(100, outputs_wait_ms=5_000, all_outputs=True) == 2
    assert clicks.producer.counts == [1, 2]
