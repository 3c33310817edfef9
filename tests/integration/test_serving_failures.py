"""What serving answers while the store, or a part of its content, is missing; and that it comes back by itself."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from redis.cluster import RedisCluster

from freshet.dev.servers import EmbeddedValkey
from freshet.spec.naming import entity_key, progress_key
from tests.integration.serving import Serving, owners, serving
from tests.unit.serving.build import ACTIVITY
from tests.valkey_cluster import valkey_cluster

pytestmark = pytest.mark.server

NOW = time.time_ns() // 1_000_000
EVENT: dict[str, object] = {"event_id": "e", "user_id": "user_alice", "event_type": "view", "timestamp": NOW - 1000}
PATH = "/features/user_alice?features=activity_count_1h"


def eventually(holds: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.05)


def refusal(server: Serving, path: str) -> str:
    """The code of a 503 with Retry-After."""
    answer = server.client.get(path)
    assert answer.status_code == 503, answer.text
    assert answer.headers["retry-after"] == "1"
    return str(answer.json()["error"]["code"])


def test_a_store_that_goes_and_comes_back(own_valkey: EmbeddedValkey, tmp_path: Path) -> None:
    with serving(own_valkey.url, tmp_path / "m", "ns", ACTIVITY) as server:
        (owner,), client = owners(server)
        owner.take_over()
        owner.write([EVENT], NOW)
        client.close()
        assert server.get(PATH)[0] == 200
        own_valkey.stop()
        assert refusal(server, PATH) == "store_down"
        assert server.post("/features:batch", {"entities": ["a"]})[0] == 503
        feast = {"features": ["user-activity:level"], "entities": {"user_id": ["a"]}}
        assert server.post("/get-online-features", feast)[0] == 503
        assert server.get("/health")[0] == 200
        eventually(lambda: server.get("/ready") == (503, {"ready": False, "store": "down"}))
        own_valkey.start()
        eventually(lambda: server.get(PATH)[0] == 200)
        assert server.get(PATH)[1]["features"]["activity_count_1h"]["value"] == 1
        eventually(lambda: bool(server.get("/ready")[1]["ready"]))


def test_partitions_that_are_not_complete(valkey: EmbeddedValkey, tmp_path: Path, namespace: str) -> None:
    with serving(valkey.url, tmp_path / "m", namespace, ACTIVITY) as server:
        (owner,), client = owners(server)
        assert refusal(server, PATH) == "partition_without_progress"
        assert server.get("/ready")[0] == 503
        mine = owner.partition("user_alice")
        owner.take_over(complete=[p for p in range(4) if p != mine])
        assert refusal(server, PATH) == "partition_incomplete"
        other = next(f"user_{i}" for i in range(100) if owner.partition(f"user_{i}") != mine)
        assert server.get(f"/features/{other}")[0] == 200
        status, found = server.post("/features:batch", {"entities": ["user_alice", other]})
        assert status == 200
        assert found["results"][0]["error"]["code"] == "partition_incomplete"
        assert "features" in found["results"][1]
        body = {"entities": ["user_alice", other], "format": "columns", "features": ["activity_count_1h"]}
        _, found = server.post("/features:batch", body)
        assert found["features"] == {"activity_count_1h": [None, 0]}
        assert [(one["index"], one["code"]) for one in found["errors"]] == [(0, "partition_incomplete")]
        assert server.post("/features:batch", {"entities": ["user_alice"]})[0] == 503
        eventually(lambda: server.get("/ready")[1]["incomplete_partitions"] == {"user-activity": [mine]})
        client.close()


def test_a_store_that_has_forgotten_everything(own_valkey: EmbeddedValkey, tmp_path: Path) -> None:
    with serving(own_valkey.url, tmp_path / "m", "ns", ACTIVITY) as server:
        (owner,), client = owners(server)
        owner.take_over()
        assert server.get(PATH)[0] == 200
        client.flushall()
        assert refusal(server, PATH) == "partition_without_progress"
        client.close()


def test_one_damaged_state_spoils_no_other_answer(valkey: EmbeddedValkey, tmp_path: Path, namespace: str) -> None:
    with serving(valkey.url, tmp_path / "m", namespace, ACTIVITY) as server:
        (owner,), client = owners(server)
        owner.take_over()
        owner.write([EVENT], NOW)
        for key in ("short", "strange"):
            client.set(entity_key(owner.tags[owner.partition(key)], key), b"x" * (8 if key == "short" else 4096))
        assert refusal(server, "/features/short") == "state_unreadable"
        entities = ["user_alice", "short", "nobody", "strange"]
        status, found = server.post("/features:batch", {"entities": entities, "features": ["activity_count_1h"]})
        assert status == 200
        assert [row.get("error", {}).get("code") for row in found["results"]] == [
            None,
            "state_unreadable",
            None,
            "state_unreadable",
        ]
        assert found["results"][0]["features"]["activity_count_1h"]["value"] == 1
        client.set(progress_key(owner.tags[0]), b"nonsense")
        key = next(f"user_{i}" for i in range(100) if owner.partition(f"user_{i}") == 0)
        assert server.client.get(f"/features/{key}").status_code == 503
        client.close()


def test_the_cache_answers_for_its_age_only(valkey: EmbeddedValkey, tmp_path: Path, namespace: str) -> None:
    with serving(valkey.url, tmp_path / "m", namespace, ACTIVITY, cache_age_ms=300) as server:
        (owner,), client = owners(server)
        owner.take_over()
        assert server.get(PATH)[1]["features"]["activity_count_1h"]["value"] == 0
        owner.write([EVENT], NOW)
        assert server.get(PATH)[1]["features"]["activity_count_1h"]["value"] == 0
        time.sleep(0.3)
        assert server.get(PATH)[1]["features"]["activity_count_1h"]["value"] == 1
        assert 'cache_hits_total{featureset="user-activity"} 1.0' in server.client.get("/metrics").text
        client.close()


def test_a_lost_shard_takes_only_its_own_partitions_with_it(tmp_path: Path) -> None:
    with valkey_cluster(tmp_path / "c") as url, serving(url, tmp_path / "m", "ns", ACTIVITY) as server:
        (owner,), client = owners(server)
        assert isinstance(client, RedisCluster)
        owner.take_over()
        keys = {owner.partition(f"user_{i}"): f"user_{i}" for i in range(100)}
        assert sorted(keys) == [0, 1, 2, 3]
        assert server.post("/features:batch", {"entities": list(keys.values())})[0] == 200
        nodes = {p: client.get_node_from_key(progress_key(owner.tags[p])) for p in keys}  # type: ignore[no-untyped-call]
        lost = nodes[0]
        assert lost is not None
        pause(lost.port)
        _, found = server.post("/features:batch", {"entities": [keys[p] for p in sorted(keys)]})
        codes = [row.get("error", {}).get("code") for row in found["results"]]
        assert codes == ["store_down" if nodes[p] == lost else None for p in sorted(keys)]
        assert None in codes
        client.close()


def pause(port: int) -> None:
    """Makes one server of a cluster silent for longer than serving waits for it."""
    one = redis.Redis(port=port)
    one.execute_command("CLIENT", "PAUSE", 3000, "ALL")  # type: ignore[no-untyped-call]
    one.close()


def test_sigterm_lets_a_request_finish(valkey: EmbeddedValkey, tmp_path: Path, namespace: str) -> None:
    with serving(valkey.url, tmp_path / "m", namespace, ACTIVITY) as server:
        (owner,), client = owners(server)
        owner.take_over()
        client.close()
        body = b'{"entities":["a"]}'
        with socket.create_connection(("127.0.0.1", server.settings.port), timeout=20) as connection:
            head = b"POST /features:batch HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)
            connection.sendall(head + body[:5])
            time.sleep(0.2)
            server.process.terminate()
            time.sleep(0.5)
            connection.sendall(body[5:])
            assert connection.makefile("rb").readline() == b"HTTP/1.1 200 OK\r\n"
        server.process.join(10)
        assert server.process.exitcode == 0


def test_sigterm_ends_it_with_success(valkey: EmbeddedValkey, tmp_path: Path, namespace: str) -> None:
    with serving(valkey.url, tmp_path / "m", namespace, ACTIVITY) as server:
        server.process.terminate()
        server.process.join(10)
        assert server.process.exitcode == 0
