"""The embedded servers are the real ones, survive restarts with their data, and never outlive their parent."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import redis
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from freshet.dev.errors import ServerFailed
from freshet.dev.kafka_aot import keep
from freshet.dev.kafka_files import CACHE, ahead_of_time
from freshet.dev.servers import EmbeddedKafka, EmbeddedValkey
from tests.integration.local import eventually, processes_of


def test_kafka_keeps_topics_and_records_over_a_crash(own_kafka: EmbeddedKafka) -> None:
    admin = AdminClient({"bootstrap.servers": own_kafka.bootstrap})
    admin.create_topics([NewTopic("kept", 2, 1)])["kept"].result(10)
    producer = Producer({"bootstrap.servers": own_kafka.bootstrap, "acks": "all"})
    producer.produce("kept", b"value", partition=1)
    assert producer.flush(10) == 0
    port = own_kafka.port
    own_kafka.kill()
    own_kafka.start()
    assert own_kafka.port == port
    admin = AdminClient({"bootstrap.servers": own_kafka.bootstrap})
    assert len(admin.list_topics(timeout=10).topics["kept"].partitions) == 2
    producer = Producer({"bootstrap.servers": own_kafka.bootstrap, "acks": "all"})
    offsets: list[int | None] = []
    producer.produce("kept", b"value", partition=1, on_delivery=lambda _, message: offsets.append(message.offset()))
    producer.flush(10)
    assert offsets == [1]


def test_kafka_makes_no_topic_by_mere_use(kafka: EmbeddedKafka) -> None:
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    admin.list_topics("never-made", timeout=10)
    assert "never-made" not in admin.list_topics(timeout=10).topics


def test_what_java_does_at_a_start_of_kafka_is_kept_for_later_ones(tmp_path: Path) -> None:
    keep()
    assert not keep()
    with EmbeddedKafka(tmp_path / "later") as later:
        assert str(ahead_of_time("server")) in Path(f"/proc/{later.process.pid}/maps").read_text()


def test_what_another_java_has_kept_keeps_nobody_from_starting(tmp_path: Path, kafka: EmbeddedKafka) -> None:
    cache = tmp_path / "cache"
    shutil.copytree(CACHE, cache, ignore=shutil.ignore_patterns("*.aot", "envs", "info"))
    for part in ("tool", "server"):
        ahead_of_time(part, cache).write_bytes(b"of another Java")
    EmbeddedKafka(tmp_path / "kafka", cache=cache).start().stop()


def test_valkey_keeps_data_over_a_restart_and_never_evicts(own_valkey: EmbeddedValkey) -> None:
    with redis.Redis.from_url(own_valkey.url) as client:
        assert client.info("memory")["maxmemory_policy"] == "noeviction"
        client.set("key", "value")
    own_valkey.stop()
    own_valkey.start()
    with redis.Redis.from_url(own_valkey.url) as client:
        assert client.get("key") == b"value"


def test_a_server_that_cannot_start_says_why(tmp_path: Path, valkey: EmbeddedValkey) -> None:
    second = EmbeddedValkey(tmp_path, config={"maxmemory-policy": "nonsense"})
    with pytest.raises(ServerFailed, match="maxmemory-policy"):
        second.start()
    second.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's help is Linux only")
def test_children_die_with_their_parent(tmp_path: Path) -> None:
    code = (
        "import os, signal; from pathlib import Path; from freshet.dev.servers import EmbeddedValkey\n"
        f"EmbeddedValkey(Path({str(tmp_path)!r})).start(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    eventually(lambda: not processes_of(tmp_path), "the orphaned server ends", 5)
