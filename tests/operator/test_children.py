"""Reading children: alone by label, many by one snapshot, never older than what is known to have changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from freshet_operator.api.kinds import CHILDREN, FEATURESET, POD, Kind
from freshet_operator.model import Key
from freshet_operator.names import LABEL_FEATURESET
from freshet_operator.observe.children import CROWD, ChildReader
from tests.operator.test_lease import Clock

A = Key("FeatureSet", "shop", "a")
KINDS = len(CHILDREN) + 2  # with the resource and its pods


class Cluster:
    """Stands for the client; counts requests."""

    def __init__(self) -> None:
        self.requests = 0
        self.names = ["a", "b"]

    async def get(self, kind: Kind, namespace: str, name: str) -> dict[str, Any] | None:
        self.requests += 1
        return self._item(kind, name) if name in self.names else None

    async def list_all(self, kind: Kind, namespace: str, labels: str) -> list[dict[str, Any]]:
        self.requests += 1
        return [self._item(kind, name) for name in self.names if labels.endswith(f"={name}")]

    async def pages(self, kind: Kind, namespace: str | None, labels: str = "") -> AsyncIterator[list[dict[str, Any]]]:
        self.requests += 1
        await asyncio.sleep(0)
        yield [self._item(kind, name) for name in self.names]

    def _item(self, kind: Kind, name: str) -> dict[str, Any]:
        meta = {"namespace": "shop", "name": name, "labels": {LABEL_FEATURESET: name}, "managedFields": [{}]}
        return {"kind": kind.kind, "metadata": meta}


def reader(cluster: Cluster, clock: Clock) -> ChildReader:
    return ChildReader(cluster, (None,), clock)  # type: ignore[arg-type]


def test_one_key_costs_a_list_for_each_kind() -> None:
    cluster, clock = Cluster(), Clock()
    found = asyncio.run(reader(cluster, clock).read(A, clock() - 1, waiting=0))
    assert cluster.requests == KINDS
    assert [item["kind"] for item in found] == [FEATURESET.kind, *(kind.kind for kind in CHILDREN), POD.kind]


def test_a_crowd_shares_one_snapshot_and_a_key_that_changed_since_does_not() -> None:
    async def run() -> None:
        cluster, clock = Cluster(), Clock()
        children = reader(cluster, clock)
        found = await asyncio.gather(*(children.read(A, clock() - 1, CROWD) for _ in range(20)))
        assert cluster.requests == KINDS
        assert {len(items) for items in found} == {KINDS}
        assert "managedFields" not in found[0][0]["metadata"]
        clock.now += 1
        await children.read(A, clock() - 5, 0)
        assert cluster.requests == KINDS
        await children.read(A, clock() + 0.5, 0)
        assert cluster.requests == 2 * KINDS

    asyncio.run(run())


def test_what_time_alone_brings_is_read_from_a_snapshot_that_is_at_most_two_minutes_old() -> None:
    async def run() -> None:
        cluster, clock = Cluster(), Clock()
        children = reader(cluster, clock)
        await children.read(A, 0.0, 0)
        clock.now += 90
        await children.read(A, 0.0, 0)
        assert cluster.requests == KINDS
        cluster.names = ["b"]
        clock.now += 31
        assert await children.read(A, 0.0, 0) == []
        assert cluster.requests == 2 * KINDS

    asyncio.run(run())
