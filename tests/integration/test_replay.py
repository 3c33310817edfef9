"""Dead letters from refusal to replay, on real servers: each reason, each at most once, for one revision alone."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from freshet.admin import replay as replaying
from freshet.admin.context import of_command
from freshet.admin.letters import Filter
from freshet.dev.servers import EmbeddedKafka, EmbeddedValkey
from freshet.runtime.settings import AdminSettings
from tests.integration.administered import Administered
from tests.integration.test_dead_letters import BAD, dead_letters, event

pytestmark = pytest.mark.server


@pytest.fixture
def system(
    tmp_path: Path,
    kafka: EmbeddedKafka,
    namespace: str,
    unique: Callable[[str], str],
    database: str,
) -> Iterator[Administered]:
    """A FeatureSet on a Valkey of its own, with history."""
    valkey = EmbeddedValkey(tmp_path / "own").start()
    running = Administered(tmp_path, (kafka, valkey), namespace, unique, postgres=database)
    running.database = database
    yield running
    running.close()
    valkey.kill()


def outcomes(system: Administered, *options: str) -> dict[str, list[str]]:
    """Ids by outcome of a replay."""
    found: dict[str, list[str]] = {}
    for result in system.json("dlq", "replay", *options)["results"]:
        found.setdefault(result["outcome"], []).append(result["id"])
    return found


def test_every_reason_is_listed_and_judged(system: Administered) -> None:
    """What the manifest still refuses is not sent; what was misrouted comes home; the rest can be put aside."""
    topic, home = system.featureset.source.topic, system.home("user_1")
    foreign = next(f"user_{i}" for i in range(2, 99) if system.home(f"user_{i}") != home)
    for _, value in [*BAD, ("misrouted", event(user_id=foreign))]:
        system.producer.produce(topic, key="key", value=value, partition=home)
    system.producer.flush()
    system.processor()
    system.administration()
    system.wait_processed()
    system.wait_letters(len(BAD) + 1)
    listed = system.json("dlq", "list")["dead_letters"]
    reasons = {letter["id"]: letter["reason"] for letter in listed}
    expected = [*(reason for reason, _ in BAD), "misrouted"]
    assert reasons == {f"{topic}/{home}/{offset}": reason for offset, reason in enumerate(expected)}
    counted = system.json("dlq", "stats")["stats"]
    assert {stat["reason"]: stat["count"] for stat in counted} == {r: expected.count(r) for r in expected}
    dry = outcomes(system, "--dry-run")
    assert dry["accepted"] == [f"{topic}/{home}/{len(BAD)}"]
    assert len(dry["still_refused"]) == len(BAD)
    assert outcomes(system)["replayed"] == dry["accepted"]
    system.wait_processed()
    assert (system.value(foreign, "ever"), system.value("user_1", "ever")) == (1, 0)
    code, output = system.run("dlq", "replay", dry["accepted"][0])
    assert (code, "it was replayed already" in output) == (1, True), output
    assert system.run("dlq", "discard", "--reason", "too_large", "--yes")[1].strip() == "1 dead letters discarded"
    assert len(system.json("dlq", "list", "--status", "discarded")["dead_letters"]) == 1
    assert system.run("dlq", "show", f"{topic}/{home}/0")[1].count("broken") == 0
    assert "{broken" in system.run("dlq", "show", f"{topic}/{home}/0", "--payload")[1]


def test_a_mended_manifest_counts_each_letter_once(system: Administered) -> None:
    """The new revision reads what the log still has by itself; what it has not is replayed, and for it alone."""
    for i in range(30):
        bad: dict[str, Any] = {"kind": "absent"} if i % 3 == 0 else {}
        system.send_bytes(f"user_{i % 5}", event(event_id=f"e{i}", user_id=f"user_{i % 5}", amount=i + 0.5, **bad))
    system.producer.flush()
    system.processor()
    system.administration()
    system.wait_processed()
    system.wait_letters(10)
    system.wait_recorded()
    before = system.featureset
    system.truncate()
    system.send_bytes("user_1", event(event_id="late", user_id="user_1"))
    system.send_bytes("user_2", event(event_id="refused", user_id="user_2", kind="absent"))
    system.producer.flush()
    system.wait_processed()
    system.wait_letters(11)
    system.use("kind: {type: string, required: true}", "kind: {type: string}")
    system.processor()
    system.wait_processed()
    dry = outcomes(system, "--dry-run")
    assert {outcome: len(ids) for outcome, ids in dry.items()} == {"accepted": 10, "already_read": 1}
    assert {outcome: len(ids) for outcome, ids in outcomes(system).items()} == {"replayed": 10, "already_read": 1}
    system.wait_processed()
    assert sum(int(str(system.value(f"user_{i}", "ever"))) for i in range(5)) == 32
    assert outcomes(system) == {"already_read": dry["already_read"]}
    system.featureset = before
    system.wait_processed()
    assert sum(int(str(system.value(f"user_{i}", "ever"))) for i in range(5)) == 21, "the old revision counts none"


def test_a_replay_that_dies_is_resolved_by_the_log(system: Administered, monkeypatch: pytest.MonkeyPatch) -> None:
    home = system.home("user_1")
    for i in range(4):
        value = event(event_id=f"m{i}")
        system.producer.produce(system.featureset.source.topic, key="x", value=value, partition=(home + 1) % 4)
    system.producer.flush()
    system.processor()
    system.wait_processed()
    system.administration()
    system.wait_letters(4)
    with monkeypatch.context() as patch:
        # It dies before it can write down what Kafka has answered.
        patch.setattr(replaying._Sender, "_settle", lambda *_: (_ for _ in ()).throw(RuntimeError("killed")))
        with pytest.raises(RuntimeError, match="killed"):
            run(system, limit=1)
    system.wait("SELECT count(*) = 1 FROM dead_letters WHERE status = 'replayed' AND replayed_offset IS NOT NULL")
    with monkeypatch.context() as patch:
        # It dies before anything is sent.
        patch.setattr(replaying._Sender, "_produce", lambda *_: (_ for _ in ()).throw(RuntimeError("killed")))
        with pytest.raises(RuntimeError, match="killed"):
            run(system, limit=1)
    assert system.query("SELECT count(*) FROM dead_letters WHERE status = 'replaying'") == [(1,)]
    assert replaying.resolve(installation(system)) == 0, "it may still be on its way"
    system.query("UPDATE dead_letters SET changed_at = now() - interval '100 s' WHERE status = 'replaying'")
    system.wait_recorded()
    assert replaying.resolve(installation(system)) == 1
    assert {outcome: len(ids) for outcome, ids in outcomes(system).items()} == {"replayed": 3}
    system.wait_processed()
    assert system.value("user_1", "ever") == 4
    system.assert_exact(system.read_logs())


def installation(system: Administered) -> Any:
    return of_command(AdminSettings.from_environment(system.settings_of_commands()))


def run(system: Administered, limit: int) -> None:
    replaying.replay(installation(system), replaying.Order(Filter(), limit), lambda _: None)


def test_letters_are_written_once_and_without_payloads_in_logs(system: Administered) -> None:
    system.send_bytes("user_1", b'{"user_id": "user_1", "secret": "hush"')
    system.producer.flush()
    system.processor()
    system.administration()
    system.wait_processed()
    system.wait_letters(1)
    system.flush_store()  # the rebuild sends the letter again
    time.sleep(1.5)
    system.wait_processed()
    time.sleep(1)
    with psycopg.connect(system.database) as connection:
        rows = connection.execute("SELECT count(*), min(entity) FROM freshet.dead_letters").fetchall()
    assert rows == [(1, "user_1")]
    for log in system.folder.glob("*.log"):
        assert "hush" not in log.read_text()
    (letter,) = json.loads(system.run("dlq", "show", letter_id(system), "--payload", "--output", "json")[1])
    assert letter["payload"].endswith('"hush"')


def letter_id(system: Administered) -> str:
    (letter,) = system.json("dlq", "list")["dead_letters"]
    return str(letter["id"])


def test_what_fails_for_a_while_is_no_dead_letter(system: Administered) -> None:
    """The store dies under events and comes back empty: all is tried again until it is right."""
    system.processor()
    for i in range(200):
        system.send_bytes(f"user_{i % 7}", event(event_id=f"e{i}", user_id=f"user_{i % 7}"))
    system.producer.flush()
    system.wait_processed()
    system.valkey.kill()
    for i in range(200, 400):
        system.send_bytes(f"user_{i % 7}", event(event_id=f"e{i}", user_id=f"user_{i % 7}"))
    system.producer.flush()
    time.sleep(2)
    system.valkey.start()
    system.wait_processed()
    assert dead_letters(system, 0) == []
    assert sum(int(str(system.value(f"user_{i}", "ever"))) for i in range(7)) == 400
    system.assert_exact(system.read_logs())
