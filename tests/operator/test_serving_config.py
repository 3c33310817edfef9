"""Writing the serving ConfigMap, and what FeatureSets are told when it cannot hold them all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from freshet_operator.api.kinds import CONFIG_MAP, FEATURESET, Kind
from freshet_operator.desired import serving as desired_serving
from freshet_operator.model import Key, Object
from freshet_operator.observe.pods import PodClient
from freshet_operator.observe.serving import ServingReader, entries_of
from freshet_operator.plan import plan
from freshet_operator.queue import WorkQueue
from freshet_operator.scope import Scope
from freshet_operator.serving import LOOK_SECONDS, ServingReconciler
from tests.operator.pure import NOW, conditions, featureset, message, settings
from tests.operator.test_served import accepted
from tests.operator.world import served

KEY = Key("Serving", "freshet", "freshet-featuresets")


@dataclass
class Cluster:
    """Client and applier in one: FeatureSets and the one ConfigMap."""

    resources: list[Object]
    config_map: Object | None = None
    lists: int = 0
    writes: int = 0

    async def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        return self.config_map if kind is CONFIG_MAP else None

    async def list_all(self, kind: Kind, namespace: str | None, labels: str = "") -> list[Object]:
        return []

    async def pages(self, kind: Kind, namespace: str | None) -> AsyncIterator[list[Object]]:
        self.lists += kind is FEATURESET
        for resource in self.resources:
            yield [resource]

    async def apply(self, item: Object) -> Object:
        self.config_map = {**item, "metadata": {**item["metadata"], "resourceVersion": str(self.writes)}}
        return self.config_map

    async def write(self, verb: str, what: str, call: Callable[[], Awaitable[object]]) -> None:
        self.writes += 1
        await call()


def names(cluster: Cluster) -> list[str]:
    return [entry["metadata"]["name"] for entry in entries_of(cluster.config_map)]


def test_one_too_many_is_told_and_what_fits_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        world = served().observe()
        cluster: Any = Cluster([accepted()])
        queue = WorkQueue()
        reader = ServingReader(cluster, PodClient(), settings())
        writer = ServingReconciler(settings(), cluster, queue, reader, cluster, Scope())
        assert await writer.reconcile(KEY) == LOOK_SECONDS
        assert names(cluster) == ["clicks"]

        monkeypatch.setattr(desired_serving, "MOST_BYTES", 10)
        monkeypatch.setattr("freshet_operator.serving.SPACING_SECONDS", 0.0)
        newer = accepted(name="plays")
        cluster.resources.append(newer)
        queue.add(KEY)
        await writer.reconcile(KEY)
        assert names(cluster) == ["clicks"]
        lists = cluster.lists
        await writer.reconcile(KEY)
        assert cluster.lists == lists, "nothing has changed: it is not built again"

        seen = await reader.seen()
        told = plan(replace(world, resource={**world.resource, **newer}, serving=seen), settings(), NOW)
        assert conditions(told.status)["ServingConfigured"] == ("False", "ConfigTooLarge")
        assert conditions(told.status)["Ready"] == ("False", "ConfigTooLarge")
        assert "2 FeatureSets" in message(told.status, "Ready")
        assert ("Warning", "ConfigTooLarge") in [(event.type, event.reason) for event in told.events]
        others = replace(world, serving=replace(seen, pods={"s": seen.hash}))
        assert conditions(plan(others, settings(), NOW).status)["Ready"][0] == "True"

        cluster.resources.pop()
        monkeypatch.setattr(desired_serving, "MOST_BYTES", 1_000_000)
        queue.add(KEY)
        await writer.reconcile(KEY)
        reader.invalidate()
        assert (await reader.seen()).error is None

    asyncio.run(run())


def test_it_is_written_once_and_again_when_somebody_edits_it() -> None:
    async def run() -> None:
        cluster: Any = Cluster([accepted(), featureset(name="pending")])
        writer = ServingReconciler(
            settings(), cluster, WorkQueue(), ServingReader(cluster, PodClient(), settings()), cluster, Scope()
        )
        for _ in range(3):
            await writer.reconcile(KEY)
        assert cluster.writes == 1
        cluster.config_map["binaryData"] = {}
        await writer.reconcile(KEY)
        assert (cluster.writes, names(cluster)) == (2, ["clicks"])

    asyncio.run(run())
