"""The rehearsal of a disaster where a FeatureSet is re-keyed: history has less of the copies than of their origin."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from freshet.dev.oracle.run import Oracle
from freshet.dev.servers import EmbeddedKafka, EmbeddedPostgres, EmbeddedValkey
from freshet.runtime.settings import KafkaSettings
from freshet.spec.headers import CONTROL, ERASE
from freshet.spec.load import parse_featureset
from freshet.stores import kafka as stores
from freshet.stores.postgres import connect
from freshet.stores.redis import connect as connect_store
from tests.chaos import manifests, stream
from tests.chaos.driver import Account
from tests.chaos.evidence import Evidence, logs_of
from tests.chaos.subject import Subject
from tests.chaos.topics import Message, read
from tests.chaos.verdict import Verdict, judge_states
from tests.integration.services import Services
from tests.integration.test_drill import pytestmark, run, site
from tests.integration.test_serving_failures import eventually

__all__ = ["pytestmark", "site"]

ORIGIN, DEAD, FORGOTTEN = "payments", "dead-drill", "card_40"
Site = tuple[EmbeddedKafka, EmbeddedValkey, EmbeddedPostgres]


class Place:
    """The services of both FeatureSets on one set of servers."""

    def __init__(self, folder: Path, servers: Site, namespace: str) -> None:
        folder.mkdir()
        self._kafka, self._valkey, self._postgres = servers
        self.url = self._postgres.url
        self.settings = KafkaSettings(bootstrap=self._kafka.bootstrap)
        self.users, self.cards = (
            self._subject(folder, text, namespace) for text in (manifests.users(ORIGIN), manifests.cards(ORIGIN))
        )
        self._namespace = namespace
        self._services = Services(folder / "services.log", self._kafka.bootstrap)

    def _subject(self, folder: Path, manifest: str, namespace: str) -> Subject:
        file = folder / f"{parse_featureset(manifest).name}.yaml"
        file.write_text(manifest)
        return Subject(file, parse_featureset(manifest), namespace, lambda: connect_store(self._valkey.url))

    def environment(self, *subjects: Subject) -> dict[str, str]:
        return {
            "FRESHET_KAFKA": self._kafka.bootstrap,
            "FRESHET_REDIS": self._valkey.url,
            "FRESHET_POSTGRES": self.url,
            "FRESHET_MANIFESTS": ",".join(str(one.file) for one in subjects),
            "FRESHET_NAMESPACE": self._namespace,
            "FRESHET_DEAD_LETTER_TOPIC": DEAD,
            "FRESHET_CHECKPOINT_SECONDS": "3",
        }

    def start(self, command: str, *subjects: Subject) -> subprocess.Popen[bytes]:
        return self._services.start("freshet", command, **self.environment(*subjects))

    def start_all(self) -> subprocess.Popen[bytes]:
        """Starts all but ingest and serving; returns the stage."""
        for subject in (self.users, self.cards):
            self.start("processor", subject)
        self.start("recorder", self.users, self.cards)
        return self.start("rekey", self.cards)

    def close(self) -> None:
        self._services.close()

    def send(self, events: Iterator[dict[str, Any]], count: int) -> None:
        producer = stores.producer(self.settings)
        for _ in range(count):
            event = next(events)
            producer.produce(ORIGIN, json.dumps(event).encode(), event["user_id"])
        assert producer.flush(30) == 0

    def forget(self) -> None:
        producer = stores.producer(self.settings)
        producer.produce(self.cards.topic, None, FORGOTTEN, headers=[(CONTROL, ERASE)])
        assert producer.flush(30) == 0

    def ends(self, topic: str) -> list[int]:
        client = stores.consumer(self.settings, "drill-ends")
        partitions = client.list_topics(topic, timeout=10).topics[topic].partitions
        found = [stores.log_bounds(client, topic, p)[1] for p in sorted(partitions)]
        client.close()
        return found

    def copied(self) -> bool:
        return not +(wanted(read(self.settings, ORIGIN)) - copied(read(self.settings, self.cards.topic)))

    def wait_done(self) -> None:
        """Until all is processed and recorded, and what was erased is gone."""
        for subject in (self.users, self.cards):
            eventually(partial(self._is_done, subject, self.ends(subject.topic)), 60)

    def _is_done(self, subject: Subject, ends: list[int]) -> bool:
        with connect(self.url, autocommit=True) as connection:
            found = connection.execute("SELECT count(*) FROM erasures WHERE applied_at IS NULL").fetchone()
        progress = zip(subject.progress(), ends, strict=True)
        done = all(one is not None and one.complete and one.offset >= end for one, end in progress)
        return done and self.recorded(subject.topic) == ends and found == (0,)

    def recorded(self, topic: str) -> list[int]:
        with connect(self.url, autocommit=True) as connection:
            statement = "SELECT next_offset FROM recorded WHERE topic = %s ORDER BY partition"
            return [row[0] for row in connection.execute(statement, (topic,)).fetchall()]


def usable(event: Any) -> bool:
    """What both FeatureSets accept: of other events history has no payload."""
    card, kind, amount = event.get("card_id"), event["kind"], event["amount"]
    good_card = isinstance(card, str | int) and not isinstance(card, bool) and card != ""
    return good_card and isinstance(kind, str) and (amount is None or (isinstance(amount, float) and amount >= 0))


def wanted(origin: list[Message]) -> Counter[tuple[str, bytes]]:
    """Card and event of what has to be copied, and was not erased."""
    events = [(json.loads(one.value), one.value) for one in origin if one.value]
    found = Counter((str(event["card_id"]), value) for event, value in events if usable(event))
    return Counter({place: times for place, times in found.items() if place[0] != FORGOTTEN})


def copied(copies: list[Message]) -> Counter[tuple[str, bytes]]:
    return Counter(
        ((one.key or b"").decode(), one.value) for one in copies if one.value and usable(json.loads(one.value))
    )


def make_older(place: Place, partition: int, rows: int) -> None:
    """As if the recorder had been behind in one partition of the copies when the backup was taken."""
    subject = place.cards
    with connect(place.url) as connection:
        cut = place.ends(subject.topic)[partition] - rows
        connection.execute(
            'DELETE FROM event_log WHERE topic = %s AND partition = %s AND "offset" >= %s',
            (subject.topic, partition, cut),
        )
        connection.execute(
            "UPDATE recorded SET next_offset = %s WHERE topic = %s AND partition = %s", (cut, subject.topic, partition)
        )
        for table in ("checkpoints", "checkpoint_buckets", "entity_states"):
            statement = f"DELETE FROM {table} WHERE owner = %s AND partition = %s"
            connection.execute(statement.encode(), (subject.owner, partition))


def test_what_was_not_copied_yet_is_copied_and_the_stage_goes_on(
    tmp_path: Path, site: Callable[[str], Site], namespace: str
) -> None:
    events = stream.events(9, lambda: time.time_ns() // 1_000_000)
    backup = tmp_path / "freshet.dump"
    servers = site("old")
    with closing(Place(tmp_path / "first", servers, namespace)) as place:
        featuresets = [place.users.featureset, place.cards.featureset]
        stores.ensure_topics(stores.admin(place.settings), featuresets, DEAD, replication=1)
        stage = place.start_all()
        place.send(events, 2_000)
        eventually(place.copied, 60)
        place.forget()
        remembered = (event for event in events if event.get("card_id") != FORGOTTEN)
        place.send(remembered, 200)
        eventually(place.copied, 60)
        place.wait_done()
        stage.kill()
        place.send(remembered, 300)
        place.wait_done()
        place.close()
        make_older(place, 1, 100)
        run("pg_dump", "--format=custom", "--file", str(backup), place.url)
    for server in servers:
        server.kill()

    servers = site("new")
    with closing(Place(tmp_path / "second", servers, namespace)) as place:
        run("pg_restore", "--exit-on-error", "--no-owner", "--dbname", place.url, str(backup))
        environment = {**os.environ, **place.environment(place.users, place.cards)}
        command = [sys.executable, "-m", "freshet", "restore", "--replication", "1"]
        told = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert told.returncode == 0, told.stderr
        assert "events were in payments only" in " ".join(told.stdout.split())
        assert place.copied(), "without a stage"
        place.start_all()
        place.send(remembered, 300)
        eventually(place.copied, 60)
        place.wait_done()
        origin, copies = read(place.settings, ORIGIN), read(place.settings, place.cards.topic)
        assert len(wanted(origin)) > 2_000
        assert copied(copies) == wanted(origin)
        for subject, raw in ((place.users, origin), (place.cards, copies)):
            verdict = Verdict()
            evidence = Evidence(subject, Account(), raw, logs_of(raw, subject.featureset), [], [], [])
            with Oracle(subject.definition) as oracle:
                judge_states(evidence, verdict, oracle)
            assert verdict.wrong == []
            assert verdict.looked["values of states"] > 1_000
