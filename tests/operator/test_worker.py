"""The workers: whatever a reconcile does, its key comes again and the worker lives."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from freshet_operator.api.errors import ApiError
from freshet_operator.apply import NotLeading
from freshet_operator.engine import Engine
from freshet_operator.lease import Lease
from freshet_operator.model import Key
from freshet_operator.reconcile import Retry
from freshet_operator.scope import Scope
from tests.operator.fake_api import client_of, fake_api
from tests.operator.test_router import settings

A = Key("FeatureSet", "shop", "a")


async def outcome(failure: Exception | float | None, monkeypatch: pytest.MonkeyPatch) -> tuple[int, Engine]:
    """Does one reconcile that ends so; returns how many failures its key has."""

    async def reconcile(self: Engine, key: Key) -> float | None:
        if isinstance(failure, Exception):
            raise failure
        return failure

    monkeypatch.setattr(Engine, "_reconcile", reconcile)
    async with fake_api() as api, client_of(api) as client:
        lease = Lease(client, "op", "l", "me")
        kafka: Any = None
        engine = Engine(settings(), client, kafka, lease, "", Scope())
        engine.queue.add(A)
        key = await engine.queue.get()
        assert key == A
        await engine._one(key)
        engine.queue.done(key)
        return engine.queue._failures.get(A, 0), engine


@pytest.mark.parametrize(
    "failure",
    [
        ApiError(503, "ServiceUnavailable", ""),
        ApiError(403, "Forbidden", "quota"),
        Retry("Kafka refused"),
        TimeoutError(),
        RuntimeError("a mistake of ours"),
    ],
)
def test_a_failure_is_tried_again_with_backoff(failure: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    failures, engine = asyncio.run(outcome(failure, monkeypatch))
    assert failures == 1
    assert A in engine.queue._due


def test_a_success_is_looked_at_again_at_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    failures, engine = asyncio.run(outcome(30.0, monkeypatch))
    assert failures == 0
    assert 26 < engine.queue._due[A] - engine.queue._clock() < 34


def test_what_is_gone_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    _, engine = asyncio.run(outcome(None, monkeypatch))
    assert A not in engine.queue._due


def test_who_does_not_lead_does_not_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    failures, engine = asyncio.run(outcome(NotLeading("apply"), monkeypatch))
    assert failures == 0
    assert A not in engine.queue._due
