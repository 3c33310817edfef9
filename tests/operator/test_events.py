"""Kubernetes Events: counted instead of multiplied, bounded, without secrets."""

from __future__ import annotations

import asyncio
from typing import Any

from freshet_operator.events import MOST_WAITING, Recorder
from freshet_operator.model import Event
from tests.operator.fake_api import client_of, fake_api
from tests.operator.test_lease import Clock

FS: dict[str, Any] = {
    "apiVersion": "freshet.dev/v1alpha1",
    "kind": "FeatureSet",
    "metadata": {"namespace": "shop", "name": "a", "uid": "u1"},
}
QUOTA = Event("Warning", "QuotaExceeded", "no room")


async def settle() -> None:
    await asyncio.sleep(0.1)


def test_equal_events_are_one_with_a_count() -> None:
    async def run() -> None:
        async with fake_api() as api, client_of(api) as client:
            clock = Clock()
            recorder = Recorder(client, "op", clock)
            task = asyncio.create_task(recorder.run())
            for _ in range(50):
                recorder.record(FS, QUOTA)
            await settle()
            assert [method for method, _, _ in api.requests] == ["POST"]
            clock.now += 31
            recorder.record(FS, QUOTA)
            await settle()
            method, path, body = api.requests[1]
            assert (method, body["count"]) == ("PATCH", 51)
            assert path.startswith("/api/v1/namespaces/shop/events/a.")
            clock.now += 600
            recorder.record(FS, QUOTA)
            await settle()
            assert [method for method, _, _ in api.requests] == ["POST", "PATCH", "POST"]
            task.cancel()

    asyncio.run(run())


def test_reasons_and_objects_are_told_apart_and_logins_masked() -> None:
    async def run() -> None:
        async with fake_api() as api, client_of(api) as client:
            recorder = Recorder(client, "op")
            task = asyncio.create_task(recorder.run())
            recorder.record(FS, QUOTA)
            recorder.record(FS, Event("Warning", "Other", "redis://user:secret@host:1 is away"))
            recorder.record({**FS, "metadata": {**FS["metadata"], "uid": "u2"}}, QUOTA)
            await settle()
            assert len(api.requests) == 3
            assert "secret" not in str(api.requests)
            task.cancel()

    asyncio.run(run())


def test_more_than_can_be_written_are_dropped() -> None:
    async def run() -> None:
        async with fake_api() as api, client_of(api) as client:
            recorder = Recorder(client, "op")
            for i in range(MOST_WAITING + 10):
                recorder.record(FS, Event("Normal", f"Reason{i}", ""))
            assert recorder.waiting == MOST_WAITING

    asyncio.run(run())
