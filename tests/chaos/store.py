"""Online stores that can be killed, forget, and fail over to a replica that is behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import redis

from freshet.dev.ports import HOST
from freshet.dev.servers import EmbeddedValkey
from tests.chaos.proxy import Network, Proxy


class StorePair:
    """A primary with its AOF synced each second and a replica; clients reach the primary through a proxy."""

    kind = "pair"

    def __init__(self, folder: Path, network: Network) -> None:
        self._folder = folder
        self._network = network
        self._made = 0
        self.primary = self._server()
        self.replica: EmbeddedValkey | None = None
        self.proxy: Proxy = network.proxy(0)

    @property
    def url(self) -> str:
        """Where services find the store, whichever server is the primary."""
        return f"redis://{HOST}:{self.proxy.port}/0"

    def start(self) -> None:
        """Starts both."""
        self.primary.start()
        self.proxy.target = self.primary.port
        self.add_replica()

    def stop(self) -> None:
        """Ends both."""
        for server in (self.primary, self.replica):
            if server is not None:
                server.stop(grace_seconds=0)

    def clear(self) -> None:
        """Removes all keys."""
        with client(self.primary) as primary:
            primary.flushall()

    def add_replica(self) -> None:
        """A new and empty server begins to follow the primary."""
        self.replica = self._server()
        self.replica.start()
        with client(self.replica) as replica:  # not by an option: as a primary it must not return to it on a restart
            replica.execute_command("REPLICAOF", HOST, self.primary.port)  # type: ignore[no-untyped-call]

    def detach_replica(self) -> None:
        """From now on the replica gets nothing more, without knowing it: what it holds grows old."""
        assert self.replica is not None
        os.kill(self.replica.process.pid, signal.SIGSTOP)
        with client(self.primary) as primary:
            primary.execute_command("CLIENT", "KILL", "TYPE", "replica")  # type: ignore[no-untyped-call]

    def promote(self) -> EmbeddedValkey:
        """The replica is the primary from now on, for new connections; returns the old one, which may still run."""
        assert self.replica is not None
        old, new = self.primary, self.replica
        with socket.create_connection((HOST, new.port), timeout=10) as waiting:
            # Sent while it sleeps: it must not find its old primary again before it reads this.
            waiting.sendall(b"REPLICAOF NO ONE\r\n")
            os.kill(new.process.pid, signal.SIGCONT)
            assert waiting.recv(64).startswith(b"+OK")
        self.primary, self.replica = new, None
        self.proxy.target = new.port
        return old

    def aof(self) -> Path:
        """The file that the primary appends to."""
        files = sorted((self.primary.folder / "appendonlydir").glob("*.incr.aof"), key=lambda f: f.stat().st_mtime)
        return files[-1]

    def replicated(self) -> bool:
        """Whether the replica has all that the primary has; False while one of them does not answer."""
        if self.replica is None:
            return False
        try:
            with client(self.primary) as primary, client(self.replica) as replica:
                wanted = primary.info("replication")["master_repl_offset"]
                told = replica.info("replication")
                return bool(told.get("master_link_status") == "up" and told["slave_repl_offset"] >= wanted)
        except (redis.RedisError, OSError):
            return False

    def discard(self, server: EmbeddedValkey) -> None:
        """Ends a server and removes what it had."""
        with contextlib.suppress(Exception):
            server.kill()
        shutil.rmtree(server.folder, ignore_errors=True)

    def _server(self) -> EmbeddedValkey:
        self._made += 1
        config = {"repl-diskless-sync-delay": "0"}
        return EmbeddedValkey(self._folder / f"valkey-{self._made}", appendonly=True, config=config)


@contextlib.contextmanager
def client(server: EmbeddedValkey) -> Iterator[redis.Redis]:
    """Straight to a server, not through a proxy."""
    with redis.Redis(host=HOST, port=server.port, socket_timeout=5) as found:
        yield found
