"""The thin API client."""

from __future__ import annotations

import asyncio
import time

import pytest

from freshet_operator.api.bucket import TokenBucket
from freshet_operator.api.client import Client
from freshet_operator.api.errors import ApiError
from freshet_operator.api.kinds import CONFIG_MAP, DEPLOYMENT, FEATURESET, kind_of
from tests.operator.fake_api import Connection, client_of, fake_api

CM = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "shop", "name": "a", "uid": "u1"}}


def test_paths() -> None:
    assert CONFIG_MAP.path("shop", "a") == "/api/v1/namespaces/shop/configmaps/a"
    assert DEPLOYMENT.path() == "/apis/apps/v1/deployments"
    expected = "/apis/freshet.dev/v1alpha1/namespaces/shop/featuresets/a/status"
    assert FEATURESET.path("shop", "a", "status") == expected
    with pytest.raises(KeyError):
        kind_of({"apiVersion": "v1", "kind": "Secret"})


def test_apply_is_server_side_and_forced() -> None:
    async def run() -> None:
        async with fake_api() as api, client_of(api) as client:
            await client.apply(CM)
            method, path, body = api.requests[0]
            assert (method, body["metadata"]["name"]) == ("PATCH", "a")
            assert path == "/api/v1/namespaces/shop/configmaps/a?fieldManager=freshet-operator&force=true"

    asyncio.run(run())


def test_lists_follow_their_pages_and_say_what_the_items_are() -> None:
    async def run() -> None:
        async with fake_api() as api, client_of(api) as client:
            api.answers = [
                (200, {"items": [{"metadata": {"name": "a"}}], "metadata": {"continue": "t"}}, {}),
                (200, {"items": [{"metadata": {"name": "b"}}], "metadata": {}}, {}),
            ]
            found = await client.list_all(DEPLOYMENT, None, "x=y")
            assert [(item["kind"], item["metadata"]["name"]) for item in found] == [
                ("Deployment", "a"),
                ("Deployment", "b"),
            ]
            assert "continue=t" in api.requests[1][1]
            assert "labelSelector=x%3Dy" in api.requests[1][1]

    asyncio.run(run())


def test_what_is_not_there_is_none_and_deleting_it_is_done() -> None:
    async def run() -> None:
        async with fake_api() as api, client_of(api) as client:
            assert await client.get(CONFIG_MAP, "shop", "a") is None
            await client.delete(CM)
            assert api.requests[-1][2]["preconditions"] == {"uid": "u1"}
            api.answers = [(409, {"reason": "Conflict"}, {})]
            await client.delete(CM)  # another object has the name by now

    asyncio.run(run())


def test_errors_carry_status_reason_causes_and_the_time_to_wait() -> None:
    async def run() -> None:
        async with fake_api() as api, client_of(api) as client:
            causes = {"causes": [{"reason": "NamespaceTerminating"}]}
            api.answers = [
                (403, {"reason": "Forbidden", "message": "no", "details": causes}, {}),
                (429, {"reason": "TooManyRequests"}, {"Retry-After": "3"}),
                (500, "not JSON of Kubernetes", {}),
            ]
            with pytest.raises(ApiError) as refused:
                await client.apply(CM)
            assert refused.value.namespace_terminating
            assert not refused.value.transient
            with pytest.raises(ApiError) as slower:
                await client.get(CONFIG_MAP, "shop", "a")
            assert slower.value.transient
            assert slower.value.retry_after == 3
            with pytest.raises(ApiError) as broken:
                await client.get(CONFIG_MAP, "shop", "a")
            assert (broken.value.status, broken.value.transient) == (500, True)

    asyncio.run(run())


def test_a_renewed_token_is_used_after_a_401() -> None:
    async def run() -> None:
        async with fake_api() as api:
            tokens = iter(["old", "new"])
            client = Client(lambda: Connection(api.server, next(tokens)))
            api.answers = [(401, {"reason": "Unauthorized"}, {})]
            api.objects["/api/v1/namespaces/shop/configmaps/a"] = CM
            assert await client.get(CONFIG_MAP, "shop", "a") == CM
            assert api.tokens == ["Bearer old", "Bearer new"]
            await client.close()

    asyncio.run(run())


def test_a_server_that_is_away_is_a_transient_error() -> None:
    async def run() -> None:
        client = Client(lambda: Connection("http://127.0.0.1:1"))
        with pytest.raises(ApiError) as error:
            await client.get(CONFIG_MAP, "shop", "a")
        assert (error.value.status, error.value.transient) == (0, True)
        assert client.last_answer is None
        await client.close()

    asyncio.run(run())


def test_a_flood_is_spread_and_a_burst_passes() -> None:
    async def run() -> float:
        bucket = TokenBucket(rate=100, burst=10)
        began = time.monotonic()
        await asyncio.gather(*(bucket.take() for _ in range(30)))
        return time.monotonic() - began

    assert 0.15 < asyncio.run(run()) < 1
