"""`freshet history`, and the queries that docs/history.md promises, on a history that a recorder wrote."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner

from freshet.cli import app
from freshet.dev.servers import EmbeddedKafka
from tests.integration.local import eventually
from tests.integration.recording import Recording

pytestmark = pytest.mark.server

_PAGE = Path(__file__).parent.parent.parent / "docs" / "history.md"


@pytest.fixture
def recording(
    tmp_path: Path, kafka: EmbeddedKafka, database: str, namespace: str, unique: Callable[[str], str]
) -> Iterator[Recording]:
    one = Recording(tmp_path, (kafka, database), namespace, unique)
    yield one
    one.close()


def queries() -> list[str]:
    """The SQL of the page, in order."""
    return re.findall(r"```sql\n(.*?)```", _PAGE.read_text(), re.DOTALL)


def test_the_documented_queries_give_what_they_say(recording: Recording) -> None:
    now = time.time_ns() // 1_000_000
    for number, (user, ago) in enumerate([("user_alice", 5_000), ("user_alice", 3_000), ("user_bob", 1_000)]):
        event = {"event_id": f"e{number}", "user_id": user, "timestamp": now - ago, "kind": "view"}
        recording.producer.produce(recording.topic, key=user, value=json.dumps(event))
        vector = {
            "featureset": "user-activity", "version": "v2", "revision": "0123456789", "user_id": user, "partition": 0,
            "offset": number + 1, "as_of": now - ago, "features": {"purchase_count_24h": number},
        }  # fmt: skip
        recording.producer.produce(recording.output, key=user, value=json.dumps(vector))
    recording.producer.flush()
    recording.recorder()
    recording.wait_recorded()
    recording.wait_recorded(recording.output)
    events, over_time, as_of, refused, spans = (recording.query(text) for text in queries())
    assert [row[2] for row in events] == ["e1", "e0"]
    assert [row[1] for row in over_time] == [0.0, 1.0]
    assert [(row[0], row[3]) for row in as_of] == [
        ("user_alice", {"purchase_count_24h": 1}),
        ("user_bob", {"purchase_count_24h": 2}),
    ]
    assert refused == []
    assert sum(row[3] - row[2] for row in spans if row[0] == recording.topic) == 3


def test_large_tables_are_asked_by_their_index(recording: Recording) -> None:
    recording.recorder()
    recording.send(500)
    recording.wait_recorded()
    with psycopg.connect(recording.url, options="-c search_path=freshet -c enable_seqscan=off") as connection:
        for text in queries()[:3]:
            plan = "\n".join(row[0] for row in connection.execute(b"EXPLAIN " + text.encode()))
            assert "Seq Scan" not in plan, plan
            assert "entity" in plan


def test_the_command_shows_days_sizes_and_lag(recording: Recording) -> None:
    process = recording.recorder()
    recording.send(300)
    recording.wait_recorded()
    eventually(lambda: bool(recording.query("SELECT FROM retention")), "the days are kept")
    process.kill()
    process.wait()
    recording.send(40)
    arguments = ["history", "--postgres", recording.url, "--kafka", recording.kafka.bootstrap]
    told = CliRunner().invoke(app, [*arguments, "--output", "json"])
    assert told.exit_code == 0, told.output
    found = json.loads(told.stdout)
    mine = [one for one in found["positions"] if one["topic"] == recording.topic]
    assert sum(one["next_offset"] for one in mine) == 300
    assert sum(one["lag"] for one in mine) == 40
    assert found["retention_ms"] == {"event_log": 30 * 86_400_000, "feature_snapshots": 90 * 86_400_000}
    days = [part for part in found["parts"] if part["table"] == "event_log"]
    assert len(days) >= 5
    assert all(part["size"] > 0 for part in days)
    text = CliRunner().invoke(app, arguments, env={"COLUMNS": "160"})
    assert text.exit_code == 0
    assert "event_log" in text.stdout
    assert "30 d" in text.stdout


def test_what_is_missing_is_said(database: str) -> None:
    empty = CliRunner().invoke(app, ["history", "--postgres", database])
    assert (empty.exit_code, "no recorder has used it" in empty.output) == (1, True)
    away = CliRunner().invoke(app, ["history", "--postgres", "postgresql://me:geheim@127.0.0.1:1/x"])
    assert away.exit_code == 1
    assert "geheim" not in away.output
    assert "PostgreSQL" in away.output
