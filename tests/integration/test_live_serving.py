"""Serving that follows a live configuration: switching under load, the mounted file, and nothing applied yet."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from freshet.dev.servers import EmbeddedValkey
from freshet.spec.load import parse_featureset
from freshet.stores.redis import connect
from tests.fake_kubernetes import FakeKubernetes, fake_kubernetes, manifest, mount, packed
from tests.integration.live import Traffic, eventually, live_serving
from tests.integration.serving import Owner
from tests.unit.serving.build import ACTIVITY, CARDS, ORDERS

pytestmark = pytest.mark.server

NOW = time.time_ns() // 1_000_000
EVENT: dict[str, object] = {"event_id": "e", "user_id": "user_alice", "event_type": "view", "timestamp": NOW - 1000}
PATH = "/features/user_alice?featureset=user-activity&features=activity_count_1h"


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeKubernetes]:
    with fake_kubernetes(tmp_path / "account") as found:
        yield found


def stored(valkey: EmbeddedValkey, text: str, namespace: str, *events: dict[str, object]) -> None:
    """Complete states of a FeatureSet."""
    client = connect(valkey.url)
    owner = Owner(client, parse_featureset(text), namespace)
    owner.take_over()
    owner.write(events, NOW)
    client.close()


def test_nothing_applied_yet(valkey: EmbeddedValkey, fake: FakeKubernetes) -> None:
    with live_serving(valkey.url, fake) as server:
        assert server.config() == {"hash": None, "featuresets": [], "source": "watch", "error": None}
        assert server.get("/ready")[0] == 200
        assert server.get("/featuresets") == (200, {"featuresets": []})
        refused = {"code": "no_featuresets", "message": "no FeatureSet is applied yet"}
        for path in ("/features/x", "/features/x/y", "/features/x?featureset=a", "/featuresets/a"):
            assert server.get(path) == (404, {"error": refused})
        answer = server.client.post("/features:batch", json={"entities": ["a"]})
        assert (answer.status_code, answer.json()) == (404, {"error": refused})
        feast = server.client.post("/get-online-features", json={"features": ["a:b"], "entities": {"k": ["1"]}})
        assert feast.status_code == 404
        assert "no FeatureSet is applied yet" in feast.text


def test_a_feature_set_that_is_applied_later(valkey: EmbeddedValkey, fake: FakeKubernetes, namespace: str) -> None:
    with live_serving(valkey.url, fake) as server:
        found = fake.write(manifest(ACTIVITY, namespace))
        server.runs(found)
        assert server.config()["featuresets"] == [f"{namespace}/user-activity"]
        assert server.code(PATH) == (503, "partition_without_progress")
        assert server.get("/ready")[0] == 200, "what is missing is told; the pod stays in its load balancer"
        stored(valkey, ACTIVITY, namespace, EVENT)
        status, body = server.get(PATH)
        assert status == 200, body
        assert body["features"]["activity_count_1h"]["value"] == 1
        assert server.get("/featuresets/user-activity")[1]["namespace"] == namespace
        server.process.terminate()
        server.process.join(10)
        assert server.process.exitcode == 0


def test_switching_under_load_fails_no_request(valkey: EmbeddedValkey, fake: FakeKubernetes, namespace: str) -> None:
    stored(valkey, ACTIVITY, namespace, EVENT)
    stored(valkey, CARDS, namespace)
    activity, cards = manifest(ACTIVITY, namespace), manifest(CARDS, namespace)
    renamed = json.loads(json.dumps(activity))
    renamed["spec"]["version"] = "v3"
    fake.write(activity, cards)

    def ask(client: httpx.Client) -> str | None:
        answers = [client.get(PATH), client.post("/features:batch", json={"entities": ["user_alice", "b"]})]
        values = [
            answers[0].json().get("features", {}).get("activity_count_1h", {}).get("value"),
            answers[1].json().get("results", [{}])[0].get("features", {}).get("activity_count_1h", {}).get("value"),
        ]
        return None if values == [1, 1] else f"{[answer.text[:300] for answer in answers]}"

    with live_serving(valkey.url, fake) as server, Traffic(ask, server.url) as traffic:
        eventually(lambda: traffic.count > 20, "there is traffic")
        slowest = 0.0
        for i in range(12):
            first = renamed if i % 3 == 1 else activity
            began = time.monotonic()
            server.runs(fake.write(*([first, cards] if i % 2 else [first])))
            slowest = max(slowest, time.monotonic() - began)
            assert server.get("/featuresets/user-activity")[1]["version"] == first["spec"]["version"]
            assert (server.get("/featuresets/card-activity")[0] == 200) == bool(i % 2)
            if i == 6:
                fake.cut()
            if i == 8:
                fake.write_bytes(b"nonsense")
                eventually(lambda: "not gzip" in str(server.config()["error"]), "the bad one is told")
        assert slowest < 5
    assert traffic.count > 100
    assert traffic.wrong == []


def test_only_the_mounted_file(valkey: EmbeddedValkey, tmp_path: Path, namespace: str) -> None:
    stored(valkey, ACTIVITY, namespace, EVENT)
    mount(tmp_path / "config", packed(manifest(ACTIVITY, namespace))[0])
    with live_serving(valkey.url, None, tmp_path / "config") as server:
        assert server.config()["source"] == "mount"
        assert server.get(PATH)[0] == 200
        content, found = packed(manifest(ACTIVITY, namespace), manifest(ORDERS, namespace))
        mount(tmp_path / "config", content)
        server.runs(found)
        assert len(server.get("/featuresets")[1]["featuresets"]) == 2


def test_the_mounted_file_while_the_api_refuses(
    valkey: EmbeddedValkey, fake: FakeKubernetes, tmp_path: Path, namespace: str
) -> None:
    fake.refuse = 403
    content, found = packed(manifest(CARDS, namespace))
    mount(tmp_path / "config", content)
    with live_serving(valkey.url, fake, tmp_path / "config") as server:
        told = server.config()
        assert (told["hash"], told["source"]) == (found, "mount")
        assert "403" in told["error"]
        newer = fake.write(manifest(ACTIVITY, namespace))
        fake.refuse = None
        server.runs(newer, 15)
        assert server.config() == {
            "hash": newer,
            "featuresets": [f"{namespace}/user-activity"],
            "source": "watch",
            "error": None,
        }
