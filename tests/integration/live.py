"""Serving and ingest as real processes that follow a ConfigMap of the fake API server, or a mounted file."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from freshet.dev.ports import free_ports
from freshet.ingest import service as ingest_service
from freshet.runtime.live.kubernetes import ApiServer
from freshet.runtime.settings import IngestSettings, KafkaSettings, LiveSettings, ServingSettings
from freshet.serving import service as serving_service
from tests.fake_kubernetes import NAME, NAMESPACE, FakeKubernetes


def eventually(holds: Callable[[], bool], what: str, seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.02)


def _run(settings: LiveSettings, server: ApiServer | None) -> None:
    """In the child: the pod's API server is the fake one."""
    ApiServer.of_pod = classmethod(lambda cls, environment: server)  # type: ignore[method-assign,assignment]
    if isinstance(settings, ServingSettings):
        serving_service.run(settings)
    else:
        assert isinstance(settings, IngestSettings)
        ingest_service.run(settings)


class Live:
    """One running service."""

    def __init__(self, settings: LiveSettings, port: int, fake: FakeKubernetes | None) -> None:
        server = fake.server() if fake is not None else None
        self._settings = settings
        self.process = multiprocessing.get_context("spawn").Process(target=_run, args=(settings, server))
        self.url = f"http://127.0.0.1:{port}"
        self.client = httpx.Client(base_url=self.url, timeout=20)

    def start(self) -> None:
        self.process.start()
        eventually(self._listens, "the service listens", 30)

    def _listens(self) -> bool:
        assert self.process.is_alive(), "the service ended at its start"
        try:
            return self.client.get("/health").status_code == 200
        except httpx.TransportError:
            return False

    def config(self) -> dict[str, Any]:
        """The answer of the admin port."""
        found: dict[str, Any] = httpx.get(f"http://127.0.0.1:{self._settings.admin_port}/config").json()
        return found

    def runs(self, wanted: str, seconds: float = 5) -> None:
        """Waits until it runs the configuration of this hash."""
        eventually(lambda: self.config()["hash"] == wanted, f"it runs {wanted}", seconds)

    def get(self, path: str) -> tuple[int, Any]:
        answer = self.client.get(path)
        return answer.status_code, answer.json()

    def code(self, path: str) -> tuple[int, str]:
        """Status and code of a refusal."""
        status, body = self.get(path)
        return status, body["error"]["code"]

    def stop(self) -> None:
        self.client.close()
        if self.process.is_alive():
            self.process.kill()
        self.process.join()
        self.process.close()


@contextmanager
def live_serving(redis: str, fake: FakeKubernetes | None, folder: Path | None = None) -> Iterator[Live]:
    port, metrics_port, admin_port = free_ports(3)
    settings = ServingSettings(
        config_map=None if fake is None else (NAMESPACE, NAME),
        config_dir=folder,
        redis=redis,
        host="127.0.0.1",
        port=port,
        metrics_host="127.0.0.1",
        metrics_port=metrics_port,
        admin_port=admin_port,
        cache_age_ms=0,
    )
    yield from _started(Live(settings, port, fake))


@contextmanager
def live_ingest(bootstrap: str, fake: FakeKubernetes | None, folder: Path | None = None) -> Iterator[Live]:
    port, metrics_port, admin_port = free_ports(3)
    settings = IngestSettings(
        config_map=None if fake is None else (NAMESPACE, NAME),
        config_dir=folder,
        kafka=KafkaSettings(bootstrap=bootstrap),
        host="127.0.0.1",
        port=port,
        metrics_host="127.0.0.1",
        metrics_port=metrics_port,
        admin_port=admin_port,
        manage_topics=False,
    )
    yield from _started(Live(settings, port, fake))


def _started(live: Live) -> Iterator[Live]:
    try:
        live.start()
        yield live
    finally:
        live.stop()


class Traffic:
    """Requests from several threads, until it is told to end; everything that was not as it should be is kept."""

    def __init__(self, ask: Callable[[httpx.Client], str | None], url: str, threads: int = 4) -> None:
        """`ask` sends one request and returns what is wrong with its answer."""
        self._ask, self._url = ask, url
        self._stop = threading.Event()
        self.count = 0
        self.wrong: list[str] = []
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        with httpx.Client(base_url=self._url, timeout=20) as client:
            while not self._stop.is_set():
                try:
                    wrong = self._ask(client)
                except httpx.HTTPError as error:
                    wrong = repr(error)
                self.count += 1
                if wrong:
                    self.wrong.append(wrong)
