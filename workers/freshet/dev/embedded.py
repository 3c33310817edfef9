"""What the embedded servers have in common: a child process in a folder, launched, waited for, stopped or killed."""

from __future__ import annotations

import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Self

from freshet.dev.children import kill, stop, tail
from freshet.dev.errors import ServerFailed
from freshet.dev.ports import listens


class EmbeddedServer(ABC):
    """A server whose data and log are in one folder. Stopped or killed, it can be started again on the same port."""

    name: str
    """As messages call it."""
    _patience_seconds: float
    """Longest start."""

    def __init__(self, folder: Path, log: str, port: int) -> None:
        self.folder = folder
        self.log = folder / log
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def launch(self) -> None:
        """Starts the process without waiting until it answers. Raises NotInstalled, ServerFailed."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether clients can use it."""

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The running server. Raises ServerFailed where it was not launched."""
        if self._process is None:
            raise ServerFailed(f"{self.name} is not running: call start() first")
        return self._process

    def wait(self, timeout_seconds: float | None = None) -> None:
        """Returns when clients can use it. Raises ServerFailed with its log's end when it ends or takes too long."""
        patience = self._patience_seconds if timeout_seconds is None else timeout_seconds
        deadline = time.monotonic() + patience
        while not (listens(self.port) and self._answers()):
            if self.process.poll() is not None:
                raise ServerFailed(f"{self.name} ended with exit code {self.process.returncode}:\n{tail(self.log)}")
            if time.monotonic() > deadline:
                raise ServerFailed(f"{self.name} did not answer within {patience:g} s:\n{tail(self.log)}")
            time.sleep(0.03)

    def start(self, timeout_seconds: float | None = None) -> Self:
        """Launches and waits. Raises NotInstalled, ServerFailed."""
        self.launch()
        self.wait(timeout_seconds)
        return self

    def stop(self, grace_seconds: float = 10) -> None:
        """Ends it in order. Does nothing when it does not run."""
        if self._process is not None:
            stop(self._process, grace_seconds)
            self._process = None

    def kill(self) -> None:
        """Ends it as a crash would (SIGKILL)."""
        kill(self.process)
        self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
