"""The source topic is not the one that states were made from: nothing is mixed, and it is said."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from freshet.dev.ports import free_ports
from freshet.dev.servers import EmbeddedKafka, EmbeddedValkey
from freshet.stores import kafka as stores
from tests.integration.system import Load, System
from tests.integration.test_degraded import ready
from tests.integration.test_serving_failures import eventually

pytestmark = pytest.mark.server


@pytest.fixture
def system(
    tmp_path: Path, kafka: EmbeddedKafka, valkey: EmbeddedValkey, namespace: str, unique: Callable[[str], str]
) -> Iterator[System]:
    """A FeatureSet on the shared servers."""
    with closing(System(tmp_path, (kafka, valkey), namespace, unique)) as running:
        yield running


def make_anew(system: System) -> None:
    admin, topic = stores.admin(system.settings), system.featureset.source.topic
    before = stores.describe_topic(admin, topic).topic_id
    admin.delete_topics([topic])[topic].result(30)
    eventually(lambda: topic not in admin.list_topics(timeout=10).topics, 30)
    stores.ensure_topics(admin, [system.featureset], system.dead_letters, replication=1)
    assert stores.describe_topic(admin, topic).topic_id != before


def test_a_topic_made_anew_stops_its_processors_and_leaves_the_states(system: System) -> None:
    load = Load(system, 500, seed=5)
    (port,) = free_ports(1)
    process = system.processor(FRESHET_METRICS_PORT=str(port))
    load.start()
    eventually(lambda: load.sent > 1_000, 60)
    load.stop()
    system.wait_processed(60)
    system.assert_exact(system.logs())
    value, progress = system.value("user_1", "ever"), system.progress()

    make_anew(system)
    for number in range(200):
        system.send_bytes(f"user_{number}", b'{"user_id": "user_%d", "kind": "view", "timestamp": 1}' % number)
    system.producer.flush()

    def told() -> bool:
        said = ready(port)
        return "made anew" in str(said.get("problem")) or any("Changed" in str(w) for w in said["stopped"].values())

    eventually(told, 40)
    process.kill()
    process.wait()
    (port,) = free_ports(1)
    system.processor(FRESHET_METRICS_PORT=str(port))
    eventually(lambda: bool(ready(port)) and len(ready(port)["stopped"]) == len(progress), 60)
    assert all(why.startswith("SourceChanged") for why in ready(port)["stopped"].values()), ready(port)
    offsets = [p.offset for p in system.progress() if p is not None]
    assert offsets == [p.offset for p in progress if p is not None], "nothing of the new log was taken"
    assert system.value("user_1", "ever") == value
