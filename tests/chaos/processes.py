"""The services as processes that are killed, paused and kept alive, as a cluster would keep them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from freshet.dev import children
from freshet.dev.http import NOT_ANSWERED, fetch
from freshet.dev.ports import HOST, free_ports

ROOT = Path(__file__).parent.parent.parent
_MORTAL = {
    "tests.chaos.processor": ("0",),
    "tests.integration.dying_recorder": ("0",),
    "tests.integration.dying_stage": ("never", "0"),
}
"""Programs whose arguments say when they stop themselves, and those that say never."""


class Process:
    """One service. Its ports stay the same over restarts. All methods belong to one thread."""

    def __init__(self, name: str, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self.log = log
        self.port, self.metrics_port = free_ports(2)
        self.restarts = 0
        self.fated = False
        """Whether its death is what a fault wants: until it is looked at again it is not started anew."""
        self._command, self._given = list(command), dict(environment)
        self._environment = {
            **os.environ,
            **environment,
            "FRESHET_HOST": HOST,
            "FRESHET_PORT": str(self.port),
            "FRESHET_METRICS_HOST": HOST,
            "FRESHET_METRICS_PORT": str(self.metrics_port),
            "FRESHET_LOG_FORMAT": "text",
        }
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{HOST}:{self.port}"

    @property
    def alive(self) -> bool:
        """Whether it runs (or is paused)."""
        return self._child is not None and self._child.poll() is None

    @property
    def asleep(self) -> bool:
        """Whether SIGSTOP has stopped it."""
        return self.alive and Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"

    @property
    def pid(self) -> int:
        """Of the child."""
        assert self._child is not None, f"{self.name} was not started"
        return self._child.pid

    @property
    def code(self) -> int | None:
        """How it ended; negative: by this signal."""
        return None if self._child is None else self._child.returncode

    def another(self, name: str) -> Process:
        """One more like it, with ports and a log of its own; not started."""
        return Process(name, self._command, self.log.with_name(f"{name}.log"), self._given)

    def start(self, *fate: str) -> None:
        """Starts it. `fate`: when it has to stop itself, as its program for tests wants it."""
        self.fated = bool(fate)
        command = [sys.executable, "-m", *self._command, *(fate or _MORTAL.get(self._command[0], ()))]
        self._child = children.spawn(command, self.log, self._environment, ROOT)

    def kill(self) -> None:
        """Ends it with SIGKILL."""
        self.fated = True
        if self._child is not None and self.alive:
            children.kill(self._child)

    def stop(self) -> int:
        """Asks it to end, and waits."""
        self.fated = True
        return children.stop(self._child, 30) if self._child is not None else 0

    def signal(self, number: signal.Signals) -> None:
        """SIGSTOP, SIGCONT, or SIGTERM without waiting."""
        assert self._child is not None
        self._child.send_signal(number)

    def ready(self) -> bool:
        """What it says of itself."""
        try:
            return fetch(f"http://{HOST}:{self.metrics_port}", "/ready").status == 200
        except NOT_ANSWERED:
            return False

    def wait(self, seconds: float = 60) -> None:
        """Until it is ready."""
        deadline = time.monotonic() + seconds
        while not self.ready():
            assert self.alive, f"{self.name} ended with {self.code}:\n{children.tail(self.log)}"
            assert time.monotonic() < deadline, f"{self.name} did not become ready:\n{children.tail(self.log)}"
            time.sleep(0.1)
