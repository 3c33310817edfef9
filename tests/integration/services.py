"""Processes of one service, as tests start and end them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from freshet.dev import children
from freshet.dev.ports import free_ports

_CRASHES = (-signal.SIGABRT, -signal.SIGSEGV, -signal.SIGBUS)
_ROOT = Path(__file__).parent.parent.parent


class Services:
    """All that were started; a member that dies leaves its group after 6 s."""

    def __init__(self, log: Path, bootstrap: str) -> None:
        """`log`: where their output goes; what else they need is beside it."""
        self.log, self._bootstrap = log, bootstrap
        self._processes: list[subprocess.Popen[bytes]] = []
        self.ports: dict[int, int] = {}
        """Of metrics and readiness, by process id."""

    def start(self, module: str, *arguments: str, **settings: str) -> subprocess.Popen[bytes]:
        """Starts `python -m module arguments`; `settings` are variables of its environment."""
        properties = self.log.parent / "client.properties"
        properties.write_text("session.timeout.ms=6000\n")
        (port,) = free_ports(1)
        environment = {
            **os.environ,
            "FRESHET_KAFKA": self._bootstrap,
            "FRESHET_KAFKA_CONFIG": str(properties),
            "FRESHET_METRICS_HOST": "127.0.0.1",
            "FRESHET_METRICS_PORT": str(port),
            **settings,
        }
        process = children.spawn([sys.executable, "-m", module, *arguments], self.log, environment, _ROOT)
        self._processes.append(process)
        self.ports[process.pid] = port
        return process

    def close(self) -> None:
        """Ends all of them. None may have ended itself as a broken memory or a failed check in C ends a process."""
        crashed = [process.args for process in self._processes if process.poll() in _CRASHES]
        for process in self._processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        assert not crashed, f"{crashed}:\n{children.tail(self.log, 12)}"
