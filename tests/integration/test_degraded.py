"""One part is away, full, slow or wrong: what still works, what says so, and that nothing is lost (docs/operations.md).

More of it: `test_processor_faults` (crashes, pauses, a store that forgets), `test_serving_failures` and
`test_serving_stale` (reads), `test_ingest` and `test_ingest_limits` (a broker that is away, hangs or is full).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from freshet.dev.kafka_cluster import EmbeddedKafkaCluster
from freshet.dev.ports import free_ports
from freshet.dev.servers import EmbeddedKafka, EmbeddedValkey
from tests.chaos.proxy import Network
from tests.integration import ingest_service
from tests.integration.serving import serving
from tests.integration.system import PARTITIONS, Load, System
from tests.integration.test_serving_failures import eventually

pytestmark = pytest.mark.server

EVENT = {"user_id": "user_probe", "kind": "view", "amount": 1.5}


@pytest.fixture
def system(
    tmp_path: Path, kafka: EmbeddedKafka, valkey: EmbeddedValkey, namespace: str, unique: Callable[[str], str]
) -> Iterator[System]:
    """A FeatureSet on the shared servers."""
    with closing(System(tmp_path, (kafka, valkey), namespace, unique)) as running:
        yield running


@contextmanager
def loaded(system: System, rate: float = 500) -> Iterator[Load]:
    """Load while the block runs; at its end everything is processed and compared with SQL."""
    load = Load(system, rate, seed=3)
    load.start()
    yield load
    load.stop()
    system.wait_processed(90)
    system.assert_exact(system.logs())


def ready(port: int) -> dict[str, Any]:
    """What a processor says of itself; empty while it does not listen."""
    try:
        found: dict[str, Any] = httpx.get(f"http://127.0.0.1:{port}/ready", timeout=5).json()
    except httpx.TransportError:
        return {}
    return found


def metrics(port: int) -> str:
    return httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=5).text


def working(system: System) -> bool:
    return all(p is not None and p.offset and p.complete for p in system.progress())


def moves_on(system: System) -> None:
    """Every partition takes more events within 20 seconds."""
    before = [p.offset for p in system.progress() if p is not None]
    assert len(before) == PARTITIONS
    eventually(
        lambda: all(p is not None and p.offset > old for p, old in zip(system.progress(), before, strict=True)), 20
    )


def resident_mb(process: subprocess.Popen[bytes]) -> float:
    fields = Path(f"/proc/{process.pid}/status").read_text().split("VmRSS:")[1].split()
    return int(fields[0]) / 1024


def probe(url: str, number: int, padding: int = 0) -> httpx.Response:
    """Sends one event; `padding` bytes that cannot be compressed make it larger."""
    event = EVENT | {"event_id": f"probe-{number}", "timestamp": time.time_ns() // 1_000_000}
    event["padding"] = os.urandom(padding).hex()
    return httpx.post(url + "/ingest", content=json.dumps(event), timeout=20)


def test_a_full_store_is_a_condition_and_loses_nothing(
    tmp_path: Path, kafka: EmbeddedKafka, own_valkey: EmbeddedValkey, namespace: str, unique: Callable[[str], str]
) -> None:
    (port,) = free_ports(1)
    with (
        closing(System(tmp_path, (kafka, own_valkey), namespace, unique)) as system,
        loaded(system),
        redis.Redis.from_url(own_valkey.url) as store,
    ):
        system.processor(FRESHET_METRICS_PORT=str(port))
        eventually(lambda: working(system), 60)
        assert ready(port)["stopped"] == {}
        store.config_set("maxmemory", store.info("memory")["used_memory"])
        eventually(lambda: bool(ready(port)["stopped"]), 30)
        time.sleep(2)  # the longest wait between two attempts is longer than a short one of all partitions
        said = ready(port)
        assert said["ready"] is False
        assert all(one.startswith("StoreFull: ") for one in said["stopped"].values()), said
        stopped = [line for line in metrics(port).splitlines() if 'reason="StoreFull"' in line]
        assert any(float(line.split()[-1]) > 0 for line in stopped if line.startswith("partitions_stopped")), stopped
        store.config_set("maxmemory", 0)
        eventually(lambda: bool(ready(port)["ready"]), 30)


def test_kafka_is_away(
    tmp_path: Path, own_kafka: EmbeddedKafka, valkey: EmbeddedValkey, namespace: str, unique: Callable[[str], str]
) -> None:
    """Ingest refuses, reads go on with sliding windows, and all comes back without anybody's help."""
    (port,) = free_ports(1)
    with (
        closing(System(tmp_path, (own_kafka, valkey), namespace, unique)) as system,
        ingest_service.serving(own_kafka.bootstrap, [system.featureset], acknowledge_timeout_ms=2000) as url,
        serving(valkey.url, tmp_path / "m", namespace, system.manifest.read_text()) as server,
    ):
        system.processor(FRESHET_METRICS_PORT=str(port))
        eventually(lambda: probe(url, 0).status_code == 202, 30)

        def count() -> int:
            status, found = server.get("/features/user_probe/n_1h")
            return int(found["value"]) if status == 200 else -1

        eventually(lambda: count() == 1, 30)
        own_kafka.kill()
        answer = probe(url, 1)
        assert answer.status_code == 503, answer.text
        assert answer.headers["retry-after"]
        idle = server.get("/features/user_probe/idle")[1]["value"]
        time.sleep(1.5)
        assert server.get("/features/user_probe/idle")[1]["value"] > idle
        assert count() == 1
        eventually(lambda: "Kafka" in str(ready(port).get("kafka")), 40)
        eventually(lambda: ready(port)["group"] == "not joined", 20)
        assert ready(port)["ready"] is False, "its session is over: no partition is its own"
        own_kafka.start()
        eventually(lambda: probe(url, 2).status_code == 202, 30)
        eventually(lambda: ready(port).get("kafka") == "ok" and bool(ready(port)["ready"]), 40)
        system.wait_processed()
        # The refused event may have been written all the same: its answer says so.
        assert count() in (2, 3)
        system.assert_exact(system.logs())


def test_one_broker_of_three_is_away(
    tmp_path: Path, valkey: EmbeddedValkey, namespace: str, unique: Callable[[str], str]
) -> None:
    """Nobody but the broker's operator has anything to do: events are taken, values are fresh, nothing is lost."""
    with (
        EmbeddedKafkaCluster(tmp_path / "kafka") as cluster,
        closing(System(tmp_path, (cluster, valkey), namespace, unique, replication=3)) as system,
        ingest_service.serving(cluster.bootstrap, [system.featureset]) as url,
        loaded(system, 300),
    ):
        system.processor()
        eventually(lambda: working(system), 60)
        eventually(lambda: probe(url, 0).status_code == 202, 30)
        cluster.nodes[1].kill()
        time.sleep(2)
        for number in range(10):
            assert probe(url, number).status_code == 202
        moves_on(system)
        cluster.nodes[1].start(120)
        moves_on(system)


def test_a_full_disk_at_the_broker(
    small_disk: Path, valkey: EmbeddedValkey, namespace: str, unique: Callable[[str], str]
) -> None:
    """The broker ends; ingest refuses and reads go on; with room and a restart everything acknowledged is there."""
    kafka = EmbeddedKafka(small_disk / "kafka").start()
    folder = small_disk.parent
    with (
        closing(System(folder, (kafka, valkey), namespace, unique)) as system,
        ingest_service.serving(kafka.bootstrap, [system.featureset], acknowledge_timeout_ms=3000) as url,
        serving(valkey.url, folder / "m", namespace, system.manifest.read_text()) as server,
    ):
        system.processor()
        eventually(lambda: probe(url, 0).status_code == 202, 30)
        eventually(lambda: server.get("/features/user_probe/n_1h")[1].get("value") == 1, 30)
        ballast = small_disk / "ballast"
        ballast.write_bytes(bytes(shutil.disk_usage(small_disk).free - (2 << 20)))
        acknowledged = {"probe-0"}
        for number in range(1, 500):
            answer = probe(url, number, padding=20_000)
            if answer.status_code != 202:
                break
            acknowledged.add(f"probe-{number}")
        assert answer.status_code == 503, answer.text
        eventually(lambda: kafka.process.poll() is not None, 30)
        assert probe(url, 1000).status_code == 503
        assert server.get("/features/user_probe/n_1h")[1]["value"] >= 1
        ballast.unlink()
        kafka.start()
        eventually(lambda: probe(url, 1001).status_code == 202, 30)
        acknowledged.add("probe-1001")
        found = [one["event_id"] for one in ingest_service.values(kafka.bootstrap, system.featureset.source.topic)]
        assert acknowledged <= set(found)
        system.wait_processed()
        assert server.get("/features/user_probe/n_1h")[1]["value"] == len(set(found))
        system.assert_exact(system.logs())
    kafka.stop()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 40 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=40m", "none", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_slow_store_slows_and_breaks_nothing(
    tmp_path: Path, kafka: EmbeddedKafka, own_valkey: EmbeddedValkey, namespace: str, unique: Callable[[str], str]
) -> None:
    """300 ms in each direction: batches grow instead of memory, reads take that long, and all catches up afterwards."""
    (port,) = free_ports(1)
    with (
        closing(Network()) as network,
        closing(System(tmp_path, (kafka, own_valkey), namespace, unique)) as system,
    ):
        proxy = network.proxy(own_valkey.port)
        url = f"redis://127.0.0.1:{proxy.port}/0"
        with serving(url, tmp_path / "m", namespace, system.manifest.read_text()) as server, loaded(system, 1000):
            process = system.processor(FRESHET_REDIS=url, FRESHET_METRICS_PORT=str(port))
            eventually(lambda: working(system), 60)
            time.sleep(3)
            before = resident_mb(process)
            proxy.delay_seconds = 0.3
            seen = []
            for _ in range(20):
                began = time.monotonic()
                status, _ = server.get("/features/user_1/n_1h")
                assert status == 200
                seen.append(time.monotonic() - began)
                time.sleep(0.5)
            assert min(seen) >= 0.6
            assert resident_mb(process) - before < 60
            assert ready(port)["stopped"] == {}
            moves_on(system)
            proxy.heal()


@pytest.mark.parametrize("seconds", [3600, -3600])
def test_a_clock_that_is_off_changes_no_value(system: System, seconds: int) -> None:
    with loaded(system, 1000):
        wrong = system.processor(clock_off_seconds=seconds)
        eventually(lambda: working(system), 60)
        time.sleep(2)
        right = system.processor()
        time.sleep(3)
        wrong.terminate()
        assert wrong.wait(30) == 0
        time.sleep(2)
        system.processor(clock_off_seconds=-seconds)
        time.sleep(2)
        right.terminate()
        right.wait(30)
    system.assert_vectors_exact(system.logs())


def test_a_clock_that_is_set_back_and_forth(system: System) -> None:
    """What waits for a time of day would wait for an hour after the clock was set back."""
    with loaded(system, 1000):
        process = system.processor(clock_off_seconds=1800)
        eventually(lambda: working(system), 60)
        for _ in range(3):
            time.sleep(2)
            process.send_signal(signal.SIGUSR1)
            moves_on(system)
    system.assert_vectors_exact(system.logs())
