"""Ingest under pressure: slow clients, full memory, a broker that hangs, the end of the process."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from freshet.dev.servers import EmbeddedKafka
from tests.integration.ingest_service import MANIFEST, featureset, serving, values
from tests.integration.test_ingest import GOOD, wait_ready

pytestmark = pytest.mark.server

EVENTS = json.dumps([{**GOOD, "other": "x" * 1000} for _ in range(2000)])


def test_full_memory_is_429_and_nothing_is_taken(kafka: EmbeddedKafka, unique: Callable[[str], str]) -> None:
    topic = unique("events")
    with serving(kafka.bootstrap, [featureset(topic)], producer_memory_mb=1) as url:
        wait_ready(url)
        answer = httpx.post(url + "/ingest", content=EVENTS)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
        assert "Kafka" in answer.json()["error"]["message"]
        assert httpx.post(url + "/ingest", content=json.dumps(GOOD)).status_code == 202
    with serving(kafka.bootstrap, [featureset(topic)], body_memory_mb=1) as url:
        wait_ready(url)
        assert httpx.post(url + "/ingest", content=EVENTS).status_code == 429
        assert httpx.post(url + "/ingest", content=iter([EVENTS.encode()])).status_code == 429
        assert httpx.post(url + "/ingest", content=json.dumps(GOOD)).status_code == 202
    assert len(values(kafka.bootstrap, topic)) == 2


def test_a_slow_body_is_cut_off(kafka: EmbeddedKafka, unique: Callable[[str], str]) -> None:
    with serving(kafka.bootstrap, [featureset(unique("events"))], body_timeout_seconds=0.3) as url:
        wait_ready(url)
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as client:
            client.sendall(b"POST /ingest HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n{")
            client.settimeout(5)
            assert client.recv(1000).startswith(b"HTTP/1.1 408")


def test_a_client_that_goes_away_harms_nobody(kafka: EmbeddedKafka, unique: Callable[[str], str]) -> None:
    with serving(kafka.bootstrap, [featureset(unique("events"))]) as url:
        wait_ready(url)
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as client:
            client.sendall(b"POST /ingest HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n{")
        assert httpx.post(url + "/ingest", content=json.dumps(GOOD)).status_code == 202


def test_a_hanging_broker_is_503_in_time(own_kafka: EmbeddedKafka) -> None:
    with serving(own_kafka.bootstrap, [featureset("events")], acknowledge_timeout_ms=1000) as url:
        wait_ready(url)
        assert httpx.post(url + "/ingest", content=json.dumps(GOOD)).status_code == 202
        own_kafka.process.send_signal(signal.SIGSTOP)
        try:
            began = time.monotonic()
            answer = httpx.post(url + "/ingest", content=json.dumps(GOOD), timeout=10)
            assert answer.status_code == 503
            assert time.monotonic() - began < 5
            found = answer.json()
            assert found["error"]["code"] in ("not_acknowledged", "kafka_unavailable")
            if found["error"]["code"] == "not_acknowledged":
                assert len(found["event_ids"][0]) == 32
        finally:
            own_kafka.process.send_signal(signal.SIGCONT)
        wait_ready(url)
        assert httpx.post(url + "/ingest", content=json.dumps(GOOD)).status_code == 202


def test_the_process_drains_on_sigterm(kafka: EmbeddedKafka, unique: Callable[[str], str], tmp_path: Path) -> None:
    topic = unique("events")
    manifest = tmp_path / "featureset.yaml"
    manifest.write_text(MANIFEST.format(topic=topic, name="activity", entity="user", key="user_id", required="true"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "FRESHET_KAFKA": kafka.bootstrap,
        "FRESHET_MANIFESTS": str(manifest),
        "FRESHET_HOST": "127.0.0.1",
        "FRESHET_PORT": str(port),
        "FRESHET_METRICS_PORT": "0",
    }
    program = (
        "import os; from freshet.ingest.service import run; from freshet.runtime.settings import IngestSettings; "
        "run(IngestSettings.from_environment(os.environ))"
    )
    process = subprocess.Popen([sys.executable, "-c", program], env=environment, stderr=subprocess.PIPE, text=True)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_listening(url)
        wait_ready(url)
        accepted: list[int] = []
        senders = [threading.Thread(target=_send_until_refused, args=(url, accepted)) for _ in range(4)]
        for sender in senders:
            sender.start()
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=20)
        for sender in senders:
            sender.join()
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, log
    lines = [json.loads(line) for line in log.splitlines()]
    assert lines[-1]["message"] == "ingest stopped"
    assert lines[-1]["unacknowledged"] == 0
    assert len(accepted) > 10
    assert len(values(kafka.bootstrap, topic)) >= len(accepted)


def _wait_listening(url: str) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            httpx.get(url + "/health")
            return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError("the service does not listen")


def _send_until_refused(url: str, accepted: list[int]) -> None:
    with httpx.Client() as client:
        try:
            while client.post(url + "/ingest", content=json.dumps(GOOD)).status_code == 202:
                accepted.append(1)
        except httpx.TransportError:
            return
