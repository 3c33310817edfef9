"""One Freshet service as a child process: started by the same command as in a container, watched, restarted."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from freshet.dev.children import spawn, stop, tail
from freshet.dev.http import NOT_ANSWERED, fetch
from freshet.dev.ports import HOST

_FIRST_WAIT_SECONDS = 1.0
_LONGEST_WAIT_SECONDS = 30.0
_SETTLED_SECONDS = 60.0
"""A service that ran this long has proven itself: its next restart does not wait longer."""


class Service:
    """A child that runs `freshet <command>`; restarts follow Kubernetes' rule of doubling waits."""

    def __init__(self, name: str, command: str, environment: Mapping[str, str], metrics_port: int, log: Path) -> None:
        """`name` is unique among the services; `environment` is complete."""
        self.name = name
        self.log = log
        self.metrics_url = f"http://{HOST}:{metrics_port}"
        self.restarts = 0
        self._command = command
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._wait_seconds = _FIRST_WAIT_SECONDS
        self._due: float | None = None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The child that runs or ran last."""
        assert self._process is not None, "start() comes first"
        return self._process

    @property
    def alive(self) -> bool:
        """Whether the child runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Starts the child."""
        self._process = spawn([sys.executable, "-m", "freshet", self._command], self.log, self._environment)
        self._started = time.monotonic()
        self._due = None

    def stop(self, grace_seconds: float) -> None:
        """Asks the child to drain and waits for its end."""
        if self._process is not None:
            stop(self._process, grace_seconds)

    def ready(self) -> tuple[bool, dict[str, Any]]:
        """What the service says of itself."""
        try:
            answer = fetch(self.metrics_url, "/ready")
            details = answer.json()
        except (*NOT_ANSWERED, ValueError):
            return False, {"service": "does not answer" if self.alive else "not running"}
        return answer.status == 200, details

    def exposition(self) -> str:
        """Its metrics; empty while it does not answer."""
        try:
            return fetch(self.metrics_url, "/metrics").body.decode()
        except NOT_ANSWERED:
            return ""

    def watch(self) -> str | None:
        """Restarts a dead child when its wait is over. Returns what there is to tell, once per death."""
        now = time.monotonic()
        if self.alive:
            return None
        if self._due is None:
            if now - self._started > _SETTLED_SECONDS:
                self._wait_seconds = _FIRST_WAIT_SECONDS
            self._due = now + self._wait_seconds
            story = f"{self.death()}\nrestart in {self._wait_seconds:g} s"
            self._wait_seconds = min(_LONGEST_WAIT_SECONDS, self._wait_seconds * 2)
            return story
        if now >= self._due:
            self.restarts += 1
            self.start()
        return None

    def death(self) -> str:
        """How the child ended, and its last log lines."""
        code = self.process.returncode
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return f"{self.name} {how}; its log ({self.log}) ends with:\n{tail(self.log)}"
