"""Ingest that follows a live configuration: topics come and go, and no request fails meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from freshet.dev.servers import EmbeddedKafka
from freshet.runtime.settings import KafkaSettings
from freshet.spec.load import parse_featureset
from freshet.stores import kafka as stores
from tests.fake_kubernetes import FakeKubernetes, fake_kubernetes, manifest, mount, packed
from tests.integration.ingest_service import MANIFEST, values
from tests.integration.live import Live, Traffic, eventually, live_ingest

pytestmark = pytest.mark.server


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeKubernetes]:
    with fake_kubernetes(tmp_path / "account") as found:
        yield found


def text(topic: str, name: str = "activity", key: str = "user_id", extra: str = "") -> str:
    found = MANIFEST.format(topic=topic, name=name, entity=name, key=key, required="false")
    return found.replace("maxFutureSkew: 5m", f"maxFutureSkew: 5m{extra}")


def make(kafka: EmbeddedKafka, *texts: str) -> None:
    client = stores.admin(KafkaSettings(bootstrap=kafka.bootstrap))
    stores.ensure_topics(client, [parse_featureset(one) for one in texts], "dead-letter-queue", replication=1)


def event(key: str = "user_id") -> dict[str, object]:
    return {key: "alice", "timestamp": time.time_ns() // 1_000_000}


def post(server: Live, query: str = "", key: str = "user_id") -> tuple[int, str]:
    """Status, and the code of a refusal."""
    answer = server.client.post(f"/ingest{query}", json=event(key))
    return answer.status_code, answer.json().get("error", {}).get("code", "")


def test_nothing_applied_and_then_a_topic_that_comes_later(
    kafka: EmbeddedKafka, fake: FakeKubernetes, unique: Callable[[str], str]
) -> None:
    first, second = unique("first"), unique("second")
    with live_ingest(kafka.bootstrap, fake) as server:
        eventually(lambda: server.get("/ready")[0] == 200, "it is ready without a FeatureSet")
        answer = server.client.post("/ingest", json=event())
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "no_featuresets")
        assert "no FeatureSet is applied yet" in answer.text
        assert answer.headers["retry-after"] == "2"
        make(kafka, text(first))
        server.runs(fake.write(manifest(text(first), "a")))
        eventually(lambda: post(server) == (202, ""), "events are taken", 5)
        server.runs(fake.write(manifest(text(first), "a"), manifest(text(second, "cards", "card_id"), "b")))
        assert post(server, "?featureset=cards", "card_id") == (503, "kafka_unavailable")
        assert post(server, "?featureset=activity") == (202, "")
        assert post(server) == (400, "ambiguous_topic")
        assert post(server, "?topic=nowhere") == (404, "unknown_topic")
        ready = server.get("/ready")
        assert ready == (200, {"ready": True, "kafka": "ok", "configuration": "ok", "missing_topics": [second]})
        client = stores.admin(KafkaSettings(bootstrap=kafka.bootstrap))
        time.sleep(2.5)
        assert second not in client.list_topics(timeout=10).topics, "it makes no topic"
        make(kafka, text(second, "cards", "card_id"))
        eventually(lambda: post(server, "?featureset=cards", "card_id") == (202, ""), "the new topic is seen", 5)
        assert len(values(kafka.bootstrap, second)) == 1


def test_switching_under_load_fails_no_request(
    kafka: EmbeddedKafka, fake: FakeKubernetes, unique: Callable[[str], str]
) -> None:
    first, second = unique("first"), unique("second")
    one, two = text(first), text(second, "cards", "card_id", "\n    partitioner: consistent")
    make(kafka, one, two)
    wider = one.replace("windows: [1h]", "windows: [1h, 2h]")
    rival = text(first, "rival", "card_id")
    fake.write(manifest(one, "a"))

    def ask(client: httpx.Client) -> str | None:
        answer = client.post("/ingest?featureset=activity", json=event())
        return None if answer.status_code == 202 else answer.text

    with live_ingest(kafka.bootstrap, fake) as server:
        eventually(lambda: server.get("/ready")[0] == 200, "it is ready")
        with Traffic(ask, server.url) as traffic:
            for i in range(10):
                texts = [wider if i % 3 else one, *([two] if i % 2 else [])]
                server.runs(fake.write(*(manifest(each, "a") for each in texts)))
                if i % 2:
                    eventually(lambda: post(server, "?featureset=cards", "card_id") == (202, ""), "the other topic", 5)
            fake.write(manifest(rival, "0"), manifest(one, "a"))
            eventually(lambda: "one of them needs another topic" in str(server.config()["error"]), "the rival is told")
            told = server.config()
            assert (told["hash"], told["featuresets"]) == (None, ["a/activity"])
        assert traffic.wrong == []
        assert len(values(kafka.bootstrap, first)) == traffic.count > 50
        server.process.terminate()
        server.process.join(20)
        assert server.process.exitcode == 0


def test_only_the_mounted_file(kafka: EmbeddedKafka, tmp_path: Path, unique: Callable[[str], str]) -> None:
    first = unique("first")
    make(kafka, text(first))
    with live_ingest(kafka.bootstrap, None, tmp_path / "config") as server:
        assert server.config()["source"] == "mount"
        assert post(server)[1] == "no_featuresets"
        content, found = packed(manifest(text(first), "a"))
        mount(tmp_path / "config", content)
        server.runs(found)
        eventually(lambda: post(server) == (202, ""), "events are taken", 5)
