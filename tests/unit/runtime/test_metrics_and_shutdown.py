"""The metrics port, and the signals that end a service."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from freshet.runtime import metrics
from freshet.runtime.shutdown import Deadline, Stop


def test_metrics_health_and_ready() -> None:
    state = {"ready": True}
    server = metrics.serve("127.0.0.1", 0, lambda: (state["ready"], {"kafka": "down"}))
    url = f"http://127.0.0.1:{server.port}"
    try:
        metrics.EVENTS_PROCESSED.labels("exposed").inc(3)
        assert 'events_processed_total{featureset="exposed"} 3.0' in httpx.get(url + "/metrics").text
        openmetrics = httpx.get(url + "/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
        assert openmetrics.headers["content-type"].startswith("application/openmetrics-text")
        assert httpx.get(url + "/health").status_code == 200
        assert httpx.get(url + "/ready?x").json() == {"ready": True, "kafka": "down"}
        state["ready"] = False
        assert httpx.get(url + "/ready").status_code == 503
        assert httpx.get(url + "/other").status_code == 404
    finally:
        server.shutdown()
    with pytest.raises(httpx.ConnectError):
        httpx.get(url + "/health")


@pytest.fixture
def signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_and_a_second_interrupt_ends(number: signal.Signals) -> None:
    stop = Stop()
    os.kill(os.getpid(), number)
    assert stop.wait(1)
    if number == signal.SIGINT:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)


def test_in_another_thread_only_a_call_stops() -> None:
    made: list[Stop] = []
    thread = threading.Thread(target=lambda: made.append(Stop()))
    thread.start()
    thread.join()
    assert not made[0].is_set()
    made[0].set()
    assert made[0].wait(0)


def test_a_deadline_is_shared() -> None:
    deadline = Deadline(0.05)
    assert 0 < deadline.left() <= 0.05
    time.sleep(0.06)
    assert deadline.left() == 0
