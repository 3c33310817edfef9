"""An entity is forgotten everywhere, for good, and what comes later counts afresh."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from freshet.dev.servers import EmbeddedKafka, EmbeddedValkey
from freshet.spec import naming
from tests.integration.administered import Administered
from tests.integration.system import Load

pytestmark = pytest.mark.server


@pytest.fixture
def system(
    tmp_path: Path, kafka: EmbeddedKafka, namespace: str, unique: Callable[[str], str], database: str
) -> Iterator[Administered]:
    """A FeatureSet on a Valkey of its own, with history."""
    valkey = EmbeddedValkey(tmp_path / "own").start()
    running = Administered(tmp_path, (kafka, valkey), namespace, unique, postgres=database)
    running.database = database
    yield running
    running.close()
    valkey.kill()


ROWS = """
SELECT (SELECT count(*) FROM event_log WHERE entity = %(e)s AND status <> 4)
    + (SELECT count(*) FROM feature_snapshots WHERE entity = %(e)s)
    + (SELECT count(*) FROM entity_states WHERE entity = %(e)s)
    + (SELECT count(*) FROM dead_letters WHERE entity = %(e)s OR convert_from(payload, 'UTF8') LIKE %(like)s)
"""


def rows_about(system: Administered, entity: str) -> int:
    """Rows of all tables that are about an entity, but for its control records."""
    import psycopg

    with psycopg.connect(system.database, options="-c search_path=freshet") as connection:
        row = connection.execute(ROWS, {"e": entity, "like": f'%"{entity}"%'}).fetchone()
    assert row is not None
    return int(row[0])


def stored(system: Administered, entity: str) -> bool:
    with redis.Redis.from_url(system.valkey.url) as store:
        return bool(store.exists(naming.entity_key(system.tag(system.home(entity)), entity)))


def settle(system: Administered) -> None:
    """Until everything is processed and recorded, outputs too."""
    system.wait_processed()
    system.wait_recorded()
    time.sleep(1.5)


def test_nothing_of_the_past_comes_back(system: Administered) -> None:
    """Erased under load, then everything online is lost, twice; values stay SQL's over what came after the erasure."""
    system.processor()
    system.administration(FRESHET_CHECKPOINT_SECONDS="2")
    load = Load(system, 800, 7)
    load.start()
    time.sleep(3)
    system.send_bytes("user_1", b'{"user_id": "user_1", "kind": 5}')
    system.send_bytes("user_1", b'{"user_id": "user_1"')
    system.producer.flush()
    system.wait_letters(2)
    before = rows_about(system, "user_1")
    assert before > 2
    code, output = system.run("erase", "--entity", "user_1", "--wait", "--output", "json")
    assert code == 0, output
    receipt = json.loads(output)
    (part,) = receipt["topics"]
    assert (receipt["done"], part["state"], part["online"][0]["done"]) == (True, "applied", True)
    assert part["removed"]["event_log"] > 0
    assert part["removed"]["dead_letters"] >= 2
    assert set(part["kept_until"]) == {
        system.featureset.source.topic,
        system.featureset.output_topic,
        system.dead_letters,
    }
    assert system.run("erase", "--entity", "user_299", "--wait")[0] == 0
    load.stop()
    settle(system)
    offset = part["offset"]
    told = len(old_vectors(system, "user_1", offset))
    for _ in range(2):
        logs = system.read_logs()
        assert any(log.erase.any() for log in logs)
        system.assert_exact(logs)
        old = system.query(
            "SELECT count(*) FROM feature_snapshots WHERE entity = 'user_1' AND source_offset <= %s", offset
        )
        assert old == [(0,)]
        old = system.query(
            "SELECT count(*) FROM event_log WHERE entity = 'user_1' AND status <> 4 AND \"offset\" < %s", offset
        )
        assert old == [(0,)]
        system.flush_store()
        time.sleep(1.5)
        settle(system)
    system.assert_exact(system.read_logs())
    assert len(old_vectors(system, "user_1", offset)) == told, "a rebuild has told the past again"


def old_vectors(system: Administered, entity: str, offset: int) -> list[Any]:
    """What the output topic has of an entity before its erasure."""
    return [v for v in system.vectors() if v["user_id"] == entity and v["offset"] <= offset]


def test_an_entity_without_later_events_is_gone(system: Administered) -> None:
    system.processor()
    system.administration()
    for i in range(20):
        event: dict[str, Any] = {
            "event_id": f"e{i}",
            "user_id": f"user_{i % 2}",
            "timestamp": time.time_ns() // 1_000_000,
            "kind": "view",
            "amount": 1.0,
        }
        system.send(event)
    system.producer.flush()
    settle(system)
    assert stored(system, "user_1")
    status, receipt = system.http("DELETE", "/entities/user_1")
    assert status == 202
    deadline = time.monotonic() + 30
    while not receipt["done"] and time.monotonic() < deadline:
        time.sleep(0.2)
        status, receipt = system.http("GET", f"/erasures/{receipt['request_id']}")
        assert status == 200
    (part,) = receipt["topics"]
    assert part["removed"]["event_log"] == 10
    assert part["online"] == [{"featureset": part["online"][0]["featureset"], "done": True, "stored": False}]
    assert (stored(system, "user_1"), stored(system, "user_0")) == (False, True)
    assert rows_about(system, "user_1") == 0
    assert system.value("user_1", "ever") == 0
    system.flush_store()
    time.sleep(1.5)
    settle(system)
    assert (stored(system, "user_1"), system.value("user_0", "ever")) == (False, 10)
    assert rows_about(system, "user_1") == 0
    system.send_bytes("user_1", b'{"user_id": "user_1", "kind": 5}')
    system.producer.flush()
    system.wait_letters(1)
    assert rows_about(system, "user_1") == 1, "a letter that came later is kept"
    system.assert_exact(system.read_logs())


def test_an_erased_event_that_comes_again_is_a_duplicate_also_in_a_rebuild(system: Administered) -> None:
    """Online its id is still known; states that are made of history, where its content is gone, must know it too."""
    system.processor()
    system.administration(FRESHET_CHECKPOINT_SECONDS="3600")
    now = time.time_ns() // 1_000_000
    event = {"event_id": "e", "user_id": "user_1", "timestamp": now, "kind": "view", "amount": 1.0}
    for one in (event, event, {**event, "user_id": "user_2"}, {**event, "event_id": None}):
        system.send(one)
    system.producer.flush()
    settle(system)
    assert system.run("erase", "--entity", "user_1", "--wait")[0] == 0
    for one in (event, {**event, "event_id": "other"}):
        system.send(one)
    system.producer.flush()
    settle(system)
    assert (system.value("user_1", "ever"), system.value("user_2", "ever")) == (1, 1)
    bare = system.query("SELECT entity, event_id, payload, id_hash IS NULL FROM event_log WHERE status = 3")
    assert sorted(bare) == [(None, None, None, False), (None, None, None, False), (None, None, None, True)]
    system.query(
        "DELETE FROM checkpoints"
    )  # states are made for the first time, of the earliest event that is anywhere
    system.truncate()
    system.flush_store()
    time.sleep(1.5)
    settle(system)
    assert (system.value("user_1", "ever"), system.value("user_2", "ever")) == (1, 1)


def test_the_door_of_administration(system: Administered) -> None:
    system.administration()
    system.wait("SELECT count(*) >= 0 FROM dead_letters")
    time.sleep(0.5)
    assert system.http("GET", "/config", token=None)[0] == 200
    assert system.http("GET", "/dead-letters", token=None)[0] == 401
    assert system.http("GET", "/dead-letters", token="wrong-token-wrong")[0] == 401
    assert system.http("GET", "/nothing", token=None)[0] == 401
    assert system.http("GET", "/dead-letters") == (200, {"dead_letters": []})
    assert system.http("GET", "/dead-letters/stats") == (200, {"stats": []})
    assert system.http("GET", "/nothing")[0] == 404
    assert system.http("POST", "/dead-letters")[0] == 405
    status, answer = system.http("POST", "/dead-letters:replay", {"reasons": ["x"]})
    assert (status, answer["error"]["message"].split(":")[0]) == (422, "reasons")
    assert system.http("POST", "/dead-letters:replay", b"{broken")[0] == 422
    assert system.http("POST", "/dead-letters:replay", b"x" * 100_000)[0] == 413
    assert system.http("POST", "/dead-letters:replay", {"limit": 5}) == (
        200,
        {"counts": {}, "reopened": 0, "results": []},
    )
    assert system.http("POST", "/dead-letters:discard", {}) == (200, {"discarded": 0})
    assert system.http("GET", "/dead-letters?since=yesterday")[0] == 422
    assert system.http("GET", "/dead-letters?limit=100000")[0] == 422
    assert system.http("GET", "/erasures/00000000-0000-0000-0000-000000000000")[0] == 404
    assert system.http("GET", "/erasures/some")[0] == 422
    status, answer = system.http("DELETE", "/entities/user_1?topic=unknown")
    assert (status, answer["error"]["code"]) == (409, "refused")
    assert system.http("DELETE", "/entities/" + "x" * 600)[0] == 409
    assert system.http("DELETE", "/entities/a%2Fb%20c")[0] == 202
    assert system.query("SELECT entity FROM erasure_requests") == [("a/b c",)]
