"""One installation of the operator: its namespace and identity, processes that run it, and a proxy before each."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from freshet.dev.children import spawn, stop, tail
from freshet.dev.http import NOT_ANSWERED, Answer, fetch
from freshet.dev.ports import HOST, free_ports
from tests.cluster.api import Api, Object
from tests.cluster.identity import make_identity, write_kubeconfig
from tests.cluster.proxy import Proxy

CRASHED = 137
_RESTART_SECONDS = 1.0
"""Until a process that ended is started again; a kubelet begins with 10 s and doubles."""
_GRACE_SECONDS = 15
Found = TypeVar("Found")


class Operator:
    """One process of the operator, as one pod would run it: same identity after a restart, a proxy of its own."""

    def __init__(self, name: str, folder: Path, environment: dict[str, str], proxy: Proxy) -> None:
        self.name = name
        self.proxy = proxy
        self.log = folder / f"{name}.log"
        self.metrics_port = free_ports(1)[0]
        self.restarts = 0
        self._environment = {**environment, "FRESHET_METRICS_PORT": str(self.metrics_port), "FRESHET_IDENTITY": name}
        self._process: subprocess.Popen[bytes] | None = None
        self._ended_at: float | None = None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process that runs or ran last."""
        assert self._process is not None, "start() comes first"
        return self._process

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def start(self, **environment: str) -> Operator:
        """Starts it; more variables for this start alone."""
        self._process = spawn(
            [sys.executable, "-m", "freshet_operator"], self.log, {**self._environment, **environment}
        )
        self._ended_at = None
        return self

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        return stop(self.process, _GRACE_SECONDS)

    def end(self) -> None:
        """Ends it, if it runs at all."""
        if self._process is not None:
            if self.alive:
                self.signal(signal.SIGCONT)
            self.stop()
            self._process = None

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal."""
        os.kill(self.process.pid, number)

    def keep(self) -> None:
        """What a kubelet does: starts it again a moment after it has ended. To be called again and again."""
        if self._process is None or self.alive:
            return
        now = time.monotonic()
        if self._ended_at is None:
            self._ended_at = now
        elif now - self._ended_at >= _RESTART_SECONDS:
            self.restarts += 1
            self.start()

    def wait_exit(self, seconds: float) -> int | None:
        """The exit code; None: it still runs after that time."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def get(self, path: str) -> Answer | None:
        """What its HTTP port answers; None: nothing."""
        try:
            return fetch(f"http://{HOST}:{self.metrics_port}", path)
        except NOT_ANSWERED:
            return None

    def resident_bytes(self) -> int:
        """Its resident memory."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


@dataclass
class Installation:
    """A namespace with its operators. The first operator exists from the start; nothing runs until it is started."""

    api: Api
    namespace: str
    folder: Path
    environment: dict[str, str]
    token: str
    operators: list[Operator] = field(default_factory=list)

    @property
    def operator(self) -> Operator:
        """The first one."""
        return self.operators[0]

    @property
    def proxy(self) -> Proxy:
        """The first operator's."""
        return self.operator.proxy

    def add_operator(self) -> Operator:
        """One more replica."""
        name = f"operator-{len(self.operators)}"
        proxy = Proxy(self.api.access).start()
        kubeconfig = write_kubeconfig(self.folder / f"{name}.kubeconfig", proxy.url, self.token, self.namespace)
        operator = Operator(name, self.folder, {**self.environment, "KUBECONFIG": str(kubeconfig)}, proxy)
        self.operators.append(operator)
        return operator

    def close(self) -> list[str]:
        """Ends everything; returns what the API server has refused for want of a right."""
        refused: list[str] = []
        for operator in self.operators:
            operator.end()
            refused += operator.proxy.forbidden()
            operator.proxy.stop()
        return refused

    def story(self) -> str:
        """The ends of the logs, for a failed wait."""
        return "\n".join(f"--- {operator.name}\n{tail(operator.log, 25)}" for operator in self.operators)

    def until(self, look: Callable[[], Found], seconds: float, what: str, *, keep: bool = True) -> Found:
        """Looks until it sees something true; fails after that time. `keep`: processes that end are started again."""
        keepers = [operator.keep for operator in self.operators] if keep else []
        return eventually(look, seconds, what, keepers, self.story)

    # ---- what tests ask most ------------------------------------------------------------------------------------
    def status(self, name: str) -> Object:
        """The status of a FeatureSet; empty: none is written yet."""
        found: Object = self.api.find("FeatureSet", self.namespace, name).get("status", {})
        return found

    def condition(self, name: str, kind: str) -> Object:
        """A condition of a FeatureSet; status and reason empty: it is not written yet."""
        for condition in self.status(name).get("conditions", []):
            if condition["type"] == kind:
                found: Object = condition
                return found
        return {"status": "", "reason": "", "message": ""}

    def wait_condition(self, name: str, kind: str, status: str, reason: str = "", seconds: float = 20) -> Object:
        """Waits for a condition's status and, where given, reason. Returns the condition."""

        def look() -> Object | None:
            found = self.condition(name, kind)
            return found if found["status"] == status and reason in ("", found["reason"]) else None

        found = self.until(look, seconds, f"{name}: {kind}={status} {reason}")
        assert found is not None
        return found

    def wait_observed(self, name: str, seconds: float = 20) -> Object:
        """Waits until the operator has dealt with the newest spec. Returns the FeatureSet."""

        def look() -> Object | None:
            found = self.api.find("FeatureSet", self.namespace, name)
            seen = found.get("status", {}).get("observedGeneration")
            return found if seen == found["metadata"]["generation"] else None

        found = self.until(look, seconds, f"{name}: observedGeneration is the newest")
        assert found is not None
        return found

    def events(self, reason: str = "") -> list[Object]:
        """The Events of the namespace about our resources."""
        found = self.api.all("Event", self.namespace)
        about = ("FeatureSet", "Experiment")
        return [e for e in found if e["involvedObject"]["kind"] in about and (not reason or e.get("reason") == reason)]


def make_installation(
    api: Api,
    namespace: str,
    folder: Path,
    kafka: str,
    *,
    watched: tuple[str, ...] = (),
    cluster_wide: bool = False,
    **environment: str,
) -> Installation:
    """An installation in an existing namespace, with one operator that is not started. More variables by name."""
    lease = "freshet-operator"
    token = make_identity(api, namespace, lease, watched or (namespace,), cluster_wide)
    template = {
        "image": "freshet/none:1",
        "image_pull_policy": "Never",
        "kafka": kafka,
        "redis": "redis://redis.invalid:6379",
        "operator_namespace": namespace,
    }
    base = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "FRESHET_PROCESSOR_TEMPLATE": json.dumps(template),
        "FRESHET_KAFKA": kafka,
        "FRESHET_REPLICATION": "1",
        "FRESHET_DEAD_LETTER_TOPIC": f"{namespace}-dead",
        "FRESHET_WATCH_NAMESPACES": ",".join(watched or (namespace,)),
        "FRESHET_OPERATOR_NAMESPACE": namespace,
        "FRESHET_LEASE": lease,
        "FRESHET_LOG_LEVEL": "info",
    }
    installation = Installation(api, namespace, folder, {**base, **environment}, token)
    installation.add_operator()
    return installation


def eventually(
    look: Callable[[], Found],
    seconds: float,
    what: str,
    meanwhile: list[Callable[[], Any]] | None = None,
    story: Callable[[], str] = str,
) -> Found:
    """Looks ten times a second until it sees something true and returns that. Fails after that time."""
    end = time.monotonic() + seconds
    while True:
        for each in meanwhile or []:
            each()
        found = look()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds:g} s: {what}; last seen: {found!r}\n{story()}")
        time.sleep(0.1)
