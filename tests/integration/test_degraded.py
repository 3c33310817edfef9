"""One part is away, full, slow or wrong: what still works, what says so, and that nothing is lost (docs/operations.md).

More of it: `test_processor_faults` (crashes, pauses, a store that forgets), `test_serving_failures` and
`test_serving_stale` (reads), `test_ingest` and `test_ingest_limits` (a broker that is away, hangs or is full).
"""

from __future__ import annotations

import json
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

from freshet.dev.ports import free_ports
from freshet.dev.servers import EmbeddedKafka, EmbeddedValkey
from tests.integration import ingest_service
from tests.integration.serving import serving
from tests.integration.system import Load, System
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


def resident_mb(process: subprocess.Popen[bytes]) -> float:
    fields = Path(f"/proc/{process.pid}/status").read_text().split("VmRSS:")[1].split()
    return int(fields[0]) / 1024


def probe(url: str, number: int) -> httpx.Response:
    event = EVENT | {"event_id": f"probe-{number}", "timestamp": time.time_ns() // 1_000_000}
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
        own_kafka.start()
        eventually(lambda: probe(url, 2).status_code == 202, 30)
        eventually(lambda: ready(port).get("kafka") == "ok", 40)
        system.wait_processed()
        # The refused event may have been written all the same: its answer says so.
        assert count() in (2, 3)
        system.assert_exact(system.logs())


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
            before = [p.offset for p in system.progress() if p is not None]
            eventually(
                lambda before=before: all(  # type: ignore[misc]
                    p is not None and p.offset > old for p, old in zip(system.progress(), before, strict=True)
                ),
                20,
            )
    system.assert_vectors_exact(system.logs())
