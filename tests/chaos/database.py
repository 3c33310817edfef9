"""The history database behind a proxy, and what happens to it and to those who write it."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import psycopg

from freshet.dev.ports import HOST
from freshet.dev.servers import EmbeddedPostgres
from tests.chaos import steps
from tests.chaos.proxy import Network
from tests.chaos.schedule import Fault, NotMet, Steps
from tests.chaos.world import World

_COPY_SECONDS = 10.0


class History:
    """A PostgreSQL for all rounds; each has a database of its own."""

    def __init__(self, folder: Path, network: Network) -> None:
        self.server = EmbeddedPostgres(folder / "postgres")
        self.proxy = network.proxy(0)

    def start(self) -> None:
        """Starts it."""
        self.server.start()
        self.proxy.target = self.server.port

    def stop(self) -> None:
        """Ends it."""
        self.server.stop(grace_seconds=2)

    def create(self, database: str) -> str:
        """Makes an empty database; the URL by which services reach it."""
        return self.server.create(database).replace(f"{HOST}:{self.server.port}", f"{HOST}:{self.proxy.port}")

    def query(self, database: str, text: str, *values: Any) -> list[Any]:
        """Rows of a query, straight from the server."""
        url = self.server.url.removesuffix("postgres") + database
        with psycopg.connect(url, options="-c search_path=freshet -c timezone=UTC", connect_timeout=5) as connection:
            return connection.execute(text.encode(), values or None).fetchall()

    def copies(self, database: str) -> bool:
        """Whether somebody writes rows at this very moment."""
        found = self.query(
            "postgres",
            "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND state = 'active' AND query LIKE 'COPY%%'",
            database,
        )
        return bool(found[0][0])


def kill_in_copy(world: World, rng: random.Random) -> Steps:
    """The database dies like a machine without power in the middle of a COPY, and comes back."""
    history = world.history
    yield from _recording(world)
    history.proxy.delay_seconds = 0.1  # so that a COPY takes long enough to be met
    met, deadline = False, time.monotonic() + _COPY_SECONDS
    while not met and time.monotonic() < deadline:
        met = history.copies(world.database)
        if not met:
            yield 0.02
    history.server.kill()
    history.proxy.heal()
    yield rng.uniform(0.5, 4.0)
    history.server.launch()
    yield from _answers(world)
    if not met:
        raise NotMet("killed between two transactions")
    return None


def restart(world: World, rng: random.Random) -> Steps:
    """The database is restarted in order; transactions under way are broken off."""
    world.history.server.stop()
    yield rng.uniform(0.1, 2.0)
    world.history.server.launch()
    yield from _answers(world)
    return None


def die_before_commit(world: World, rng: random.Random) -> Steps:
    """A recorder dies between its last row and its commit."""
    number = rng.randrange(1, 10)
    return steps.dying(rng.choice(world.recorders), f"before commit {number}", str(number))


FAULTS = (
    Fault("PostgreSQL killed in mid-COPY", "database", kill_in_copy),
    Fault("PostgreSQL restarted", "database", restart),
    Fault("connections to PostgreSQL cut", "database", lambda world, rng: steps.cut(world.history.proxy, rng)),
    Fault("300 ms to PostgreSQL", "database", lambda world, rng: steps.slow(world.history.proxy, rng)),
    Fault("PostgreSQL silent", "database", lambda world, rng: steps.silent(world.history.proxy, rng)),
    Fault("kill -9 recorder", "recorders", lambda world, rng: steps.killed(rng.choice(world.recorders), rng)),
    Fault("kill -9 recorder before its commit", "recorders", die_before_commit),
    Fault(
        "recorder: SIGSTOP past the session timeout, SIGCONT",
        "recorders",
        lambda world, rng: steps.paused(rng.choice(world.recorders), rng),
    ),
)


def _recording(world: World) -> Steps:
    """Until rows are written; taking over many partitions from a database that is slow takes longer than it is slow."""
    before = None
    for _ in range(100):
        ((now,),) = world.rows("SELECT sum(next_offset) FROM recorded")
        if before is not None and now > before:
            return None
        before = now
        yield 0.2
    raise NotMet("nothing was recorded")


def _answers(world: World) -> Steps:
    for _ in range(300):
        yield 0.2
        try:
            world.history.query("postgres", "SELECT 1")
        except psycopg.OperationalError:
            continue
        return None
    raise AssertionError("the database does not come back")
