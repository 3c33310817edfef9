"""`freshet send` into a real ingest: what is taken, what is refused, and what happens while the broker is away."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from freshet.dev.errors import CommandFailed
from freshet.dev.pace import at_full_speed
from freshet.dev.ports import free_ports
from freshet.dev.reads import FeatureReader
from freshet.dev.reshape import Reshape
from freshet.dev.sender import Row, Sender, Summary
from freshet.dev.simulate import rfc3339
from freshet.dev.stack import Ports, Stack
from freshet.dev.verify import verify
from freshet.runtime.settings import KafkaSettings
from tests.integration.local import EXAMPLE, eventually, freshet


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A whole installation for this module."""
    folder = tmp_path_factory.mktemp("stack")
    hasty = {"FRESHET_ACKNOWLEDGE_TIMEOUT_MS": "1000"}
    with Stack([EXAMPLE], folder, Ports(0, 0, 0), environment=hasty) as running:
        yield running


@pytest.fixture
def reader(stack: Stack) -> Iterator[FeatureReader]:
    """Reads its features."""
    reader = FeatureReader(stack.serving_url, "user-activity")
    yield reader
    reader.close()


def events(user: str, count: int) -> list[dict[str, object]]:
    now = time.time()
    return [
        {"event_id": f"{user}-{n}", "user_id": user, "event_type": "page_view", "timestamp": rfc3339(now - n)}
        for n in range(count)
    ]


def lines(path: Path, rows: list[dict[str, object]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_a_file_sent_twice_counts_once(stack: Stack, reader: FeatureReader, tmp_path: Path) -> None:
    path = tmp_path / "visits.csv"
    duckdb.execute(
        "COPY (SELECT 'twice' AS UserId, TIMESTAMP '2020-01-05 10:00:00' + INTERVAL (i) SECOND AS At, i * 0.5 AS Paid"
        f" FROM range(1200) t(i)) TO '{path}' (HEADER)"
    )
    arguments = ["--map", "user_id=UserId,timestamp=At,amount=Paid", "--const", "event_type=purchase", "--shift-to-now"]
    for _ in range(2):
        result = freshet("send", str(path), "--url", stack.ingest_url, *arguments)
        assert result.returncode == 0, result.stderr
        assert "1,200" in result.stdout
    last = freshet("send", lines(tmp_path / "end", events("twice", 1)), "--url", stack.ingest_url)
    assert last.returncode == 0
    eventually(lambda: reader.read("twice").values["view_count_1h"] == 1, "all of it is processed")
    values = reader.read("twice").values
    assert values["purchase_count_24h"] == 1200
    assert values["purchase_amount_24h"] == pytest.approx(sum(n * 0.5 for n in range(1200)))


def test_refused_events_are_told_with_their_rows(stack: Stack, tmp_path: Path) -> None:
    path = tmp_path / "mixed.ndjson"
    good = json.dumps(events("mixed", 1)[0])
    path.write_text(f'{good}\n{{broken\n{{"user_id": "mixed", "event_type": "x"}}\n')
    result = freshet("send", str(path), "--url", stack.ingest_url)
    assert result.returncode == 1
    text = " ".join(result.stdout.split())
    assert "accepted 1" in text
    assert "refused 2" in text
    assert "not_json 1 row 2:" in text
    assert "missing_timestamp 1 row 3:" in text
    assert freshet("send", str(path), "--url", stack.ingest_url, "--allow-refused").returncode == 0


def test_a_rate_is_kept(stack: Stack, tmp_path: Path) -> None:
    path = lines(tmp_path / "slow.ndjson", events("slow", 100))
    began = time.monotonic()
    assert freshet("send", path, "--url", stack.ingest_url, "--rate", "50").returncode == 0
    assert time.monotonic() - began > 1.9


def test_simulated_traffic_is_taken_and_agrees_with_sql(stack: Stack) -> None:
    result = freshet("simulate", "--url", stack.ingest_url, "--rate", "800", "--duration", "3", "--late", "0.2")
    assert result.returncode == 0, result.stderr
    assert "refused 0" in " ".join(result.stdout.split())
    verdict = verify(stack.featuresets[0], KafkaSettings(bootstrap=stack.kafka.bootstrap), stack.serving_url, most=100)
    assert verdict.wrong == ()
    assert verdict.records > 2000
    assert verdict.entities >= 90


def test_nothing_is_lost_while_the_broker_is_away(stack: Stack, reader: FeatureReader) -> None:
    sender = Sender(stack.ingest_url)
    rows = list(Reshape("f").rows(json.dumps(row).encode() for row in events("patient", 3000)))
    stack.kafka.kill()
    sending = threading.Thread(target=sender.send, args=(at_full_speed(rows),))
    sending.start()
    try:
        time.sleep(2)
    finally:
        stack.kafka.start()
    sending.join(90)
    summary: Summary = sender.close()
    assert summary.accepted == 3000
    assert summary.retries > 0, "requests had to be sent again, and some events came twice"
    eventually(lambda: reader.read("patient").values["view_count_24h"] == 3000, "each counts once", 60)


def test_an_ingest_that_is_not_there_is_told() -> None:
    sender = Sender(f"http://127.0.0.1:{free_ports(1)[0]}", patience_seconds=0.5)
    with pytest.raises(CommandFailed, match=r"takes no events: .*refused"):
        sender.send([[Row(1, b"{}")]])
    sender.close()
