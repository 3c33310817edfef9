"""Last recorded values while the store or a partition cannot answer: marked, bounded, and never a default."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from freshet.dev.servers import EmbeddedPostgres, EmbeddedValkey
from freshet.runtime.timestamps import rfc3339
from freshet.spec.definition import FeatureSet
from freshet.stores import postgres as history
from freshet.stores.snapshots import ALL, RECENT
from tests.integration.serving import Owner, Serving, owners, serving
from tests.integration.test_serving_failures import EVENT, NOW, PATH, eventually, refusal
from tests.unit.serving.build import ACTIVITY, ORDERS, featuresets

pytestmark = pytest.mark.server

(ACTIVITY_SET, ORDERS_SET) = featuresets(ACTIVITY, ORDERS)
ALL_FEATURES: dict[str, object] = {
    "activity_count_1h": 7,
    "activity_count_24h": 9,
    "purchase_amount_24h": 12.5,
    "amount_mean_24h": None,
    "is_active_session": True,
    "share": 1.25,
    "level": 'busy, "very"',
}
AS_OF = NOW - 90_000


def record(
    url: str, featureset: FeatureSet, entity: str, as_of: int, features: dict[str, object], revision: str = ""
) -> None:
    """A snapshot as the recorder writes it."""
    with history.connect(url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO feature_snapshots SELECT '00000000-0000-0000-0000-000000000001', 0, "
            "(SELECT count(*) FROM feature_snapshots), t, %s, %s, %s, %s, 0, 41, t, %s FROM to_timestamp(%s) AS t",
            (
                featureset.name,
                featureset.version,
                revision or featureset.definition.revision,
                entity,
                json.dumps(features),
                as_of / 1000,
            ),
        )


def day_partitions(url: str, days: int) -> None:
    """Partitions as the recorder makes them, up to tomorrow."""
    history.migrate(url)
    with history.connect(url, autocommit=True) as connection:
        add_days(connection, range(-1, days))


def add_days(connection: psycopg.Connection, back: range) -> None:
    today = datetime.now(UTC).date()
    for days in back:
        day = today - timedelta(days=days)
        connection.execute(
            f"CREATE TABLE feature_snapshots_{day:%Y%m%d} PARTITION OF feature_snapshots "
            f"FOR VALUES FROM ('{day}') TO ('{day + timedelta(days=1)}')".encode()
        )


@pytest.fixture
def recorded(database: str) -> str:
    """A database with the tables of the history, today's partitions, and alice."""
    day_partitions(database, 3)
    record(database, ACTIVITY_SET, "user_alice", AS_OF - 1000, ALL_FEATURES | {"activity_count_1h": 3})
    record(database, ACTIVITY_SET, "user_alice", AS_OF, ALL_FEATURES)
    record(database, ACTIVITY_SET, "user_alice", AS_OF + 1000, {"other": 1}, revision="0123456789")
    return database


@contextmanager
def stopped(server: EmbeddedValkey | EmbeddedPostgres) -> Iterator[None]:
    server.stop()
    try:
        yield
    finally:
        server.start()


def own_of(server: Serving) -> Owner:
    (owner,), client = owners(server)
    owner.take_over()
    owner.write([EVENT], NOW)
    client.close()
    return owner


def test_the_store_is_down(own_valkey: EmbeddedValkey, recorded: str, tmp_path: Path) -> None:
    with serving(own_valkey.url, tmp_path / "m", "ns", ACTIVITY, postgres=recorded) as server:
        own_of(server)
        assert server.get(PATH)[1]["features"]["activity_count_1h"]["value"] == 1
        assert "stale" not in server.client.get(PATH).text
        eventually(lambda: server.get("/ready")[1].get("history") == "ok")
        with stopped(own_valkey):
            at = rfc3339(AS_OF)
            status, found = server.get("/features/user_alice")
            assert (status, found["stale"], found["user_id"]) == (200, True, "user_alice")
            assert found["features"] == {
                name: {"value": value, "computed_at": at, "stale": True} for name, value in ALL_FEATURES.items()
            }
            assert server.get("/features/user_alice/level")[1] == {
                "user_id": "user_alice",
                "feature": "level",
                "value": 'busy, "very"',
                "computed_at": at,
                "stale": True,
            }
            window = server.get(PATH + "&bounds=true")[1]["features"]["activity_count_1h"]["window"]
            assert window["end"] == at
            answer = server.client.get("/features/user_bob")
            assert answer.status_code == 503
            assert answer.json()["error"]["code"] == "store_down"
            assert answer.json()["error"]["message"].endswith("no values of it are recorded")
            eventually(lambda: server.get("/ready") == (200, {"ready": True, "store": "down", "history": "ok"}))
            shown = server.client.get("/metrics").text
            assert 'stale_answers_total{featureset="user-activity",reason="store_down"} 3.0' in shown
        eventually(lambda: "stale" not in server.client.get(PATH).text)
        assert server.get(PATH)[1]["features"]["activity_count_1h"]["value"] == 1


def test_batches_and_feast(own_valkey: EmbeddedValkey, recorded: str, tmp_path: Path) -> None:
    with serving(own_valkey.url, tmp_path / "m", "ns", ACTIVITY, postgres=recorded) as server, stopped(own_valkey):
        asked = {"entities": ["user_alice", "user_bob", "user_alice"], "features": ["activity_count_1h"]}
        status, found = server.post("/features:batch", asked)
        assert status == 200
        first, second, third = found["results"]
        assert (first["stale"], first["features"]["activity_count_1h"]["value"]) == (True, 7)
        assert first == third
        assert second["error"]["code"] == "store_down"
        _, found = server.post("/features:batch", asked | {"format": "columns"})
        assert found["features"] == {"activity_count_1h": [7, None, 7]}
        assert found["stale"] == {"user-activity": [True, False, True]}
        assert found["computed_at"] == {"user-activity": [rfc3339(AS_OF), None, rfc3339(AS_OF)]}
        assert [one["index"] for one in found["errors"]] == [1]
        assert server.post("/features:batch", {"entities": ["user_bob"]})[0] == 503
        body = {"features": ["user-activity:level", "user-activity:amount_mean_24h"], "entities": {"user_id": ["a"]}}
        assert server.post("/get-online-features", body)[0] == 503
        status, found = server.post("/get-online-features", body | {"entities": {"user_id": ["user_alice"]}})
        assert status == 200
        _, level, mean = found["results"]
        assert level == {
            "values": ['busy, "very"'],
            "statuses": ["OUTSIDE_MAX_AGE"],
            "event_timestamps": [rfc3339(AS_OF)],
        }
        assert (mean["values"], mean["statuses"]) == ([None], ["OUTSIDE_MAX_AGE"])


def test_an_incomplete_partition(valkey: EmbeddedValkey, recorded: str, tmp_path: Path, namespace: str) -> None:
    with serving(valkey.url, tmp_path / "m", namespace, ACTIVITY, postgres=recorded) as server:
        (owner,), client = owners(server)
        client.close()
        assert server.get(PATH)[1]["stale"] is True  # no progress at all
        mine = owner.partition("user_alice")
        owner.take_over(complete=[p for p in range(4) if p != mine])
        assert server.get(PATH)[1]["stale"] is True
        other = next(f"user_{i}" for i in range(100) if owner.partition(f"user_{i}") != mine)
        silent = next(f"user_{i}" for i in range(100) if owner.partition(f"user_{i}") == mine)
        assert refusal(server, f"/features/{silent}") == "partition_incomplete"
        _, found = server.post("/features:batch", {"entities": ["user_alice", other, silent]})
        first, second, third = found["results"]
        assert first["stale"] is True
        assert "stale" not in second
        assert second["features"]["activity_count_1h"]["value"] == 0
        assert third["error"]["code"] == "partition_incomplete"
        shown = server.client.get("/metrics").text
        for reason, count in (("partition_without_progress", 1), ("partition_incomplete", 2)):
            assert f'stale_answers_total{{featureset="user-activity",reason="{reason}"}} {count}.0' in shown


def test_one_featureset_of_two(valkey: EmbeddedValkey, recorded: str, tmp_path: Path, namespace: str) -> None:
    record(recorded, ORDERS_SET, "user_alice", AS_OF, {"activity_count_24h": 5, "order_count_24h": 6})
    with serving(valkey.url, tmp_path / "m", namespace, ACTIVITY, ORDERS, postgres=recorded) as server:
        (activity, orders), client = owners(server)
        client.close()
        activity.take_over()
        orders.take_over(complete=[])
        _, found = server.get("/features/user_alice?features=activity_count_1h,order_count_24h")
        assert found["stale"] is True
        assert found["features"]["order_count_24h"] == {"value": 6, "computed_at": rfc3339(AS_OF), "stale": True}
        assert "stale" not in found["features"]["activity_count_1h"]


def test_a_vector_that_no_processor_wrote(own_valkey: EmbeddedValkey, recorded: str, tmp_path: Path) -> None:
    record(recorded, ACTIVITY_SET, "user_odd", AS_OF, {"activity_count_1h": "seven"})
    with serving(own_valkey.url, tmp_path / "m", "ns", ACTIVITY, postgres=recorded) as server, stopped(own_valkey):
        _, found = server.post("/features:batch", {"entities": ["user_odd", "user_alice"]})
        assert found["results"][0]["error"]["code"] == "store_down"
        assert found["results"][1]["stale"] is True


def test_both_are_down_and_come_back(
    own_valkey: EmbeddedValkey, own_postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    url = own_postgres.url
    day_partitions(url, 1)
    record(url, ACTIVITY_SET, "user_alice", AS_OF, ALL_FEATURES)
    with serving(own_valkey.url, tmp_path / "m", "ns", ACTIVITY, postgres=url) as server:
        own_of(server)
        with stopped(own_postgres):
            # The history is away, and nobody who reads notices.
            assert server.get(PATH)[0] == 200
            eventually(lambda: server.get("/ready")[1].get("history") == "down")
            assert server.get("/ready")[0] == 200
            with stopped(own_valkey):
                assert refusal(server, PATH) == "store_down"
                message = server.get(PATH)[1]["error"]["message"]
                assert message.endswith("the history database does not answer either")
                assert "127.0.0.1" not in message
                down = (503, {"ready": False, "store": "down", "history": "down"})
                eventually(lambda: server.get("/ready") == down)
                own_postgres.start()
                eventually(lambda: server.get(PATH)[0] == 200 and server.get(PATH)[1].get("stale", False))
                # An idle connection that a restart has ended is replaced without an error.
                own_postgres.stop()
                own_postgres.start()
                time.sleep(1.1)  # what was recorded is remembered for a second
                assert server.get(PATH)[1]["stale"] is True
                own_postgres.stop()


def test_a_silent_history_delays_nobody_for_long(own_valkey: EmbeddedValkey, recorded: str, tmp_path: Path) -> None:
    """Locked tables: every statement waits. Callers wait for a bounded time, and most are refused at once."""
    with (
        serving(own_valkey.url, tmp_path / "m", "ns", ACTIVITY, postgres=recorded) as server,
        psycopg.connect(recorded) as lock,
        stopped(own_valkey),
    ):
        lock.execute("LOCK TABLE freshet.feature_snapshots")
        times = []

        def ask(number: int) -> int:
            began = time.monotonic()
            status = server.client.get(f"/features/user_{number}").status_code
            times.append(time.monotonic() - began)
            return status

        with ThreadPoolExecutor(20) as threads:
            assert set(threads.map(ask, range(200))) == {503}
        assert max(times) < 3
        assert sorted(times)[len(times) // 2] < 0.2
        lock.rollback()
        eventually(lambda: server.get(PATH)[1].get("stale", False))


def test_plans_on_ninety_partitions(recorded: str) -> None:
    """The newest partitions alone are read at first, and each of the others by its index."""
    with history.connect(recorded, autocommit=True) as connection:
        add_days(connection, range(3, 90))
        connection.execute(
            "INSERT INTO feature_snapshots SELECT '00000000-0000-0000-0000-000000000002', 0, d * 2000 + i, t, "
            "'user-activity', 'v2', 'r', 'user_' || (i % 500), 0, i, t, '{}' FROM generate_series(0, 89) d, "
            "generate_series(0, 1999) i, LATERAL (SELECT now() - d * interval '1 day' - i * interval '1 second' AS t)"
        )
        connection.execute("VACUUM ANALYZE feature_snapshots")
        connection.execute("SET plan_cache_mode = force_generic_plan")
        names = "ARRAY['user_5'], ARRAY['user-activity'], ARRAY['r']"
        recent = plan(connection, RECENT, names + ", now() - interval '2 days'")
        assert "Seq Scan" not in recent
        assert "Subplans Removed: 8" in recent
        assert 1 <= recent.count("Index Scan") <= 5
        older = plan(connection, ALL, names)
        assert "Seq Scan" not in older
        assert older.count("Index Scan") >= 90


def plan(connection: psycopg.Connection, statement: str, values: str) -> str:
    """As the reader's connections have it: prepared, and made without the values."""
    numbers = iter(range(1, 10))
    text = re.sub("%s", lambda _: f"${next(numbers)}", statement)
    connection.execute(f"PREPARE asked AS {text}".encode())
    rows = connection.execute(f"EXPLAIN (ANALYZE, BUFFERS) EXECUTE asked({values})".encode()).fetchall()
    connection.execute("DEALLOCATE asked")
    return "\n".join(str(row[0]) for row in rows)
