"""`freshet dev` and `freshet demo` as commands: they start, serve, recover, and leave nothing behind."""

from __future__ import annotations

import os
import re
import signal
import socket
from pathlib import Path

from freshet.dev.exposition import total
from freshet.dev.http import Connection, fetch
from tests.integration.local import EXAMPLE, eventually, freshet, processes_of, running

PORTS = ("--port-ingest", "0", "--port-serving", "0", "--port-metrics", "0")


def urls(output: str) -> dict[str, str]:
    """Service name → base URL, as printed."""
    return dict(re.findall(r"^(ingest|serving|metrics) +(http://localhost:\d+)", output, re.MULTILINE))


def test_dev_serves_restarts_a_killed_processor_and_ends_on_ctrl_c(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running(tmp_path / "out", "dev", str(EXAMPLE), "--data", str(data), *PORTS) as command:
        eventually(lambda: command.shows("Ctrl-C ends it"), "dev is up", 90)
        at = urls(command.text())
        event = (
            b'{"event_id":"evt_001","user_id":"user_alice","event_type":"purchase","device_type":"mobile",'
            b'"amount":12.5,"timestamp":"2026-01-05T10:30:00Z"}'
        )
        with Connection(at["ingest"]) as ingest, Connection(at["serving"]) as serving:

            def send(content: bytes) -> None:
                answer = ingest.call("POST", "/ingest", content, "application/x-www-form-urlencoded")
                assert answer.status == 202, answer

            def value(feature: str) -> object:
                answer = serving.get(f"/features/user_alice/{feature}").json()
                assert answer["user_id"] == "user_alice"
                return answer["value"]

            send(event)
            eventually(lambda: value("purchase_last") == 12.5, "the event is served")
            (processor,) = processes_by_log(data, "processor")
            os.kill(processor, signal.SIGKILL)
            send(event.replace(b"evt_001", b"evt_002").replace(b"12.5", b"20"))
            send(event)
            eventually(lambda: value("purchase_last") == 20, "the restarted processor goes on", 60)
            eventually(lambda: processed(at["metrics"]) >= 1, "its metrics are on the common page")
            assert value("purchase_mean_lifetime") == 16.25, "each event counts once"
            assert value("session_count") == 1
        assert "processor was killed by signal 9" in command.text()
        assert fetch(at["metrics"], "/health").status == 200
        assert fetch(at["metrics"], "/ready").status == 200
        assert fetch(at["ingest"], "/health").status == fetch(at["serving"], "/health").status == 200
        assert command.interrupt() == 0
    assert not processes_of(data), "nothing is left behind"
    assert (data / "kafka").is_dir(), "--data is kept"


def processes_by_log(data: Path, name: str) -> list[int]:
    """Living processes whose standard output is the log of a service."""
    log = str(data / "logs" / f"{name}.log")
    found = []
    for descriptor in Path("/proc").glob("[0-9]*/fd/1"):
        try:
            if os.readlink(descriptor) == log:
                found.append(int(descriptor.parts[2]))
        except OSError:  # it ended meanwhile
            continue
    return found


def processed(metrics: str) -> float:
    return total(fetch(metrics, "/metrics").body.decode(), "events_processed_total")


def test_a_killed_dev_takes_everything_with_it(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running(tmp_path / "out", "dev", str(EXAMPLE), "--data", str(data), *PORTS) as command:
        eventually(lambda: (data / "logs" / "serving.log").exists(), "services start", 60)
        command.process.kill()
        command.process.wait()
    eventually(lambda: not processes_of(data) and not processes_by_log(data, "ingest"), "all children end", 10)


def test_a_taken_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        result = freshet("dev", str(EXAMPLE), "--port-ingest", str(port), "--port-serving", "0", "--port-metrics", "0")
    assert result.returncode == 1
    assert f"port {port} is in use" in result.stderr
    assert "--port-ingest" in result.stderr


def test_a_wrong_manifest_is_told_before_anything_starts(tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text("kind: FeatureSet\n")
    result = freshet("dev", str(path))
    assert result.returncode == 2
    assert f"{path}:" in result.stderr


def test_the_demo_ends_by_itself_and_agrees_with_sql() -> None:
    result = freshet("demo", "--manifest", str(EXAMPLE), "--duration", "6", *PORTS)
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(r"[\d,]+ values of \d+ users are what DuckDB's SQL says", " ".join(result.stdout.split()))
