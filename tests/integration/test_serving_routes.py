"""The routes of serving over a real store."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from freshet.dev.servers import EmbeddedValkey
from tests.integration.serving import Serving, owners, serving
from tests.unit.serving.build import ACTIVITY, CARDS, ORDERS

pytestmark = pytest.mark.server

ODD = "ü/ü 50%?#😀"


def event(key: str, at: int, **fields: object) -> dict[str, object]:
    return {"event_id": f"{key}-{at}", "user_id": key, "event_type": "view", "timestamp": at, **fields}


def events(now: int) -> list[dict[str, object]]:
    """Of the last three hours: whether a session goes on depends on when the server is asked."""
    minute = 60_000
    return [
        event("user_alice", now - 180 * minute, event_type="purchase", amount=20.0),
        event("user_alice", now - 10 * minute),
        event("user_alice", now - 5 * minute, event_type="purchase", amount=22.5),
        event(ODD, now - 5 * minute),
    ]


@pytest.fixture(scope="module")
def server(valkey: EmbeddedValkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("manifests")
    with serving(valkey.url, folder, "serving-routes", ACTIVITY, ORDERS, CARDS) as found:
        everyone, client = owners(found)
        now = time.time_ns() // 1_000_000
        for owner in everyone[:2]:
            owner.take_over()
            owner.write(events(now), now)
        client.close()
        yield found


def values(document: dict[str, Any]) -> dict[str, Any]:
    return {name: found["value"] for name, found in document["features"].items()}


def test_all_features_of_an_entity(server: Serving) -> None:
    before = time.time()
    status, found = server.get("/features/user_alice")
    assert status == 200
    assert found["user_id"] == "user_alice"
    assert values(found) == {
        "activity_count_1h": 2,
        "user-activity.activity_count_24h": 3,
        "purchase_amount_24h": 42.5,
        "amount_mean_24h": 21.25,
        "is_active_session": True,
        "share": pytest.approx(42.5 / 3),
        "level": "busy, very",
        "user-orders.activity_count_24h": 3,
        "order_count_24h": 3,
    }
    at = datetime.fromisoformat(found["features"]["share"]["computed_at"]).timestamp()
    assert before - 0.01 <= at <= time.time()


def test_one_feature(server: Serving) -> None:
    status, found = server.get("/features/user_alice/purchase_amount_24h")
    assert status == 200
    assert found.pop("computed_at").endswith("Z")
    assert found == {"user_id": "user_alice", "feature": "purchase_amount_24h", "value": 42.5}


def test_an_unknown_entity_has_defaults(server: Serving) -> None:
    status, found = server.get("/features/nobody?featureset=user-activity")
    assert status == 200
    assert values(found) == {
        "activity_count_1h": 0,
        "activity_count_24h": 0,
        "purchase_amount_24h": 0.0,
        "amount_mean_24h": None,
        "is_active_session": False,
        "share": None,
        "level": "calm",
    }


def test_odd_keys(server: Serving) -> None:
    answer = server.client.get("/features/%C3%BC%2F%C3%BC%2050%25%3F%23%F0%9F%98%80?features=activity_count_1h")
    assert (answer.status_code, answer.json()["user_id"]) == (200, ODD)
    assert values(answer.json()) == {"activity_count_1h": 1}


def test_bounds(server: Serving) -> None:
    _, found = server.get("/features/user_alice?features=activity_count_1h,share&bounds=true")
    window = found["features"]["activity_count_1h"]["window"]
    start, end = (datetime.fromisoformat(window[side]).timestamp() for side in ("start", "end"))
    assert window["end"] == found["features"]["activity_count_1h"]["computed_at"]
    assert start % 60 == 0
    assert 3600 <= end - start < 3660
    assert "window" not in found["features"]["share"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/features/user_alice/engagement", 404, "unknown_feature"),
        ("GET", "/features/user_alice?featureset=nope", 404, "unknown_featureset"),
        ("GET", "/features/user_alice?featureset=user-activity&version=v1", 404, "unknown_version"),
        ("GET", "/features/" + "x" * 513, 400, "bad_key"),
        ("GET", "/features/a%00b", 400, "bad_key"),
        ("GET", "/features/%ff", 400, "bad_path"),
        ("GET", "/features/", 400, "bad_key"),
        ("GET", "/features/a/share/more", 404, "not_found"),
        ("GET", "/features", 404, "not_found"),
        ("GET", "/", 404, "not_found"),
        ("GET", "/featuresets/nope", 404, "unknown_featureset"),
        ("POST", "/features/user_alice", 405, "method_not_allowed"),
        ("DELETE", "/features/user_alice", 405, "method_not_allowed"),
        ("POST", "/featuresets", 405, "method_not_allowed"),
        ("GET", "/features:batch", 405, "method_not_allowed"),
        ("POST", "/features:batch", 400, "bad_json"),
    ],
)
def test_mistakes_are_json(server: Serving, method: str, path: str, status: int, code: str) -> None:
    answer = server.client.request(method, path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/json"
    assert (status == 405) == ("allow" in answer.headers)


def test_a_body_that_is_too_large(server: Serving) -> None:
    answer = server.client.post("/features:batch", content=b" " * (3 * 1024 * 1024))
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")


def test_head(server: Serving) -> None:
    answer = server.client.head("/features/user_alice")
    assert (answer.status_code, answer.content) == (200, b"")


def test_a_batch_as_rows(server: Serving) -> None:
    body = {"entities": ["nobody", "user_alice", "nobody"], "features": ["activity_count_1h", "order_count_24h"]}
    status, found = server.post("/features:batch", body)
    assert status == 200
    assert [row["user_id"] for row in found["results"]] == body["entities"]
    assert [list(values(row).values()) for row in found["results"]] == [[0, 0], [2, 3], [0, 0]]


def test_a_batch_as_columns(server: Serving) -> None:
    body = {"entities": ["nobody", "user_alice"], "featureset": "user-activity", "format": "columns", "bounds": True}
    status, found = server.post("/features:batch", body)
    assert status == 200
    assert found["user_id"] == ["nobody", "user_alice"]
    assert found["features"]["activity_count_1h"] == [0, 2]
    assert found["features"]["level"] == ["calm", "busy, very"]
    assert len(found["computed_at"]["user-activity"]) == 2
    assert len(found["windows"]["activity_count_1h"]["start"]) == 2
    assert found["errors"] == []


def test_a_thousand_entities(server: Serving) -> None:
    entities = [f"user_{i}" for i in range(999)] + ["user_alice"]
    status, found = server.post("/features:batch", {"entities": entities, "features": ["activity_count_1h"]})
    assert status == 200
    assert [row["user_id"] for row in found["results"]] == entities
    assert values(found["results"][-1]) == {"activity_count_1h": 2}


def test_the_catalogue(server: Serving) -> None:
    _, found = server.get("/featuresets")
    assert [one["name"] for one in found["featuresets"]] == ["user-activity", "user-orders", "card-activity"]
    status, one = server.get("/featuresets/user-activity")
    assert (status, one["version"], one["source"]["topic"]) == (200, "v2", "raw-events")


def test_partitions_without_progress_are_named(server: Serving) -> None:
    status, found = server.get("/ready")
    assert status == 200
    assert found["incomplete_partitions"] == {"card-activity": [0, 1, 2, 3]}
    answer = server.client.get("/features/some?entity=card")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["error"]["code"] == "partition_without_progress"


def test_metrics_on_both_ports(server: Serving) -> None:
    server.get("/features/user_alice")
    for url in ("/metrics", f"http://127.0.0.1:{server.settings.metrics_port}/metrics"):
        text = server.client.get(url).text
        assert 'http_request_seconds_count{route="/features/{entity}",status="200"}' in text
        assert 'cache_misses_total{featureset="user-activity"}' in text
    ready = server.client.get(f"http://127.0.0.1:{server.settings.metrics_port}/ready").json()
    assert ready["ready"] is True


def test_feast(server: Serving) -> None:
    body: dict[str, Any] = {
        "features": ["user-activity:level", "user-activity@v2:amount_mean_24h", "user-activity:purchase_amount_24h"],
        "entities": {"user_id": ["user_alice", ODD, "nobody"]},
        "full_feature_names": True,
        "include_feature_view_version_metadata": True,
    }
    status, found = server.post("/get-online-features", body)
    assert status == 200
    assert found["metadata"] == {
        "feature_names": [
            "user_id",
            "user-activity__level",
            "user-activity__amount_mean_24h",
            "user-activity__purchase_amount_24h",
        ],
        "feature_view_metadata": [{"name": "user-activity", "version": 2}],
    }
    assert [column["values"] for column in found["results"]] == [
        ["user_alice", ODD, "nobody"],
        ["busy, very", "calm", "calm"],
        [21.25, None, None],
        [42.5, 0.0, 0.0],
    ]
    assert [column["statuses"] for column in found["results"][1:3]] == [
        ["PRESENT", "PRESENT", "NOT_FOUND"],
        ["PRESENT", "NULL_VALUE", "NOT_FOUND"],
    ]
    assert all(len(column["event_timestamps"]) == 3 for column in found["results"])


def test_feast_mistakes(server: Serving) -> None:
    status, found = server.post("/get-online-features", {"features": ["nope:x"], "entities": {"user_id": ["a"]}})
    assert status == 404
    assert "FeatureViewNotFoundException" in found
    ragged = {"features": ["x"], "entities": {"a": [1]}}
    bodies: list[object] = [{}, {"features": ["user-activity:level"]}, [], "text", ragged]
    for body in bodies:
        status, found = server.post("/get-online-features", body)
        assert (status, found["detail"][0]["loc"][0]) == (422, "body")
    assert server.post("/search", {})[0] == 404


def test_gathered_answers_are_each_their_own(server: Serving) -> None:
    """Requests that share a read, with different questions and mistakes among them, get what a lone one gets."""
    entities = ["user_alice", ODD, "nobody", *(f"user_{i}" for i in range(60))]
    tails = ["", "?features=share,level&bounds=1", "/activity_count_1h", "/nope", "?featureset=user-orders"]
    paths = [f"/features/{quote(entity, safe='')}{tail}" for entity in entities for tail in tails]
    expected = [server.get(path) for path in paths]

    async def together() -> list[tuple[int, Any]]:
        base = f"http://127.0.0.1:{server.settings.port}"
        async with httpx.AsyncClient(base_url=base, timeout=20, limits=httpx.Limits(max_connections=64)) as client:
            answers = await asyncio.gather(*(client.get(path) for path in paths))
        return [(answer.status_code, answer.json()) for answer in answers]

    for alone, gathered in zip(expected, asyncio.run(together()), strict=True):
        assert timeless(gathered) == timeless(alone)


def timeless(answer: Any) -> Any:
    """An answer without what moves with the clock."""
    return re.sub(r"20[0-9]{2}-[0-9T:.-]+Z", "time", json.dumps(answer))
