"""The recorder on real servers: each record of the log once, whatever happens to recorders and PostgreSQL."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka.cimpl import NewTopic

from freshet.dev import children
from freshet.dev.servers import EmbeddedKafka
from freshet.spec.document import read_documents
from freshet.stores import kafka as kafka_clients
from tests.integration.local import eventually
from tests.integration.recording import Recording

pytestmark = pytest.mark.server


@pytest.fixture
def recording(
    tmp_path: Path, kafka: EmbeddedKafka, database: str, namespace: str, unique: Callable[[str], str]
) -> Iterator[Recording]:
    one = Recording(tmp_path, (kafka, database), namespace, unique)
    yield one
    one.close()


def test_history_is_what_the_log_holds(recording: Recording) -> None:
    recording.send(2_000)
    process = recording.recorder()
    recording.wait_recorded()
    recording.send(500)
    recording.wait_recorded()
    recording.assert_recorded()
    children.stop(process, 10)
    assert process.returncode == 0


def test_a_recorder_that_dies_before_its_commit_leaves_nothing_and_the_next_goes_on(recording: Recording) -> None:
    recording.send(500)
    for dies in (1, 2, 3):
        process = recording.recorder(dies_before_commit=dies)
        end = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < end:
            recording.send(20)
            time.sleep(0.05)
        assert process.returncode == -9
    recording.recorder()
    recording.wait_recorded()
    recording.assert_recorded()


def test_a_changed_configuration_is_followed(
    recording: Recording, tmp_path: Path, unique: Callable[[str], str]
) -> None:
    """From none, which is ready too, to one, to one more whose topic is made only later, and back to none."""
    text, later = recording.manifest.read_text(), unique("later")
    second = text.replace("name: recorded", "name: second").replace(recording.topic, later)
    folder = tmp_path / "config"
    folder.mkdir()

    def configure(*manifests: str) -> None:
        content = {"featuresets": [read_documents(manifest)[0].data for manifest in manifests]}
        new = folder / "new"
        new.write_bytes(gzip.compress(json.dumps(content).encode()))
        new.rename(folder / "featuresets.json.gz")

    def is_idle() -> bool:
        told = recording.ready(process)
        return bool(told.get("ready")) and not told["partitions"]

    configure()
    process = recording.recorder(FRESHET_MANIFESTS="", FRESHET_CONFIG_DIR=str(folder))
    eventually(is_idle, "it is ready, though there is nothing to record", 30)
    configure(text)
    recording.send(100)
    recording.wait_recorded()
    configure(text, second)
    eventually(lambda: recording.ready(process).get("topics_missing") == [later], "the new topic is looked for")
    client = kafka_clients.admin(recording.settings)
    for future in client.create_topics([NewTopic(later, num_partitions=4, replication_factor=1)]).values():
        future.result()
    recording.producer.produce(later, key="u", value=json.dumps({"user_id": "u", "timestamp": 1, "kind": "view"}))
    recording.send(100)
    recording.wait_recorded()
    eventually(lambda: len(recording.query("SELECT FROM events WHERE topic = %s", later)) == 1, "it is recorded too")
    configure()
    eventually(is_idle, "there is nothing left to record", 30)
    recording.assert_recorded()
    assert process.poll() is None
