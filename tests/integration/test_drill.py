"""The rehearsal of a disaster: a backup of PostgreSQL, then every server is gone, and new ones get everything back."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from freshet.dev.servers import EmbeddedKafka, EmbeddedPostgres, EmbeddedValkey
from freshet.stores.postgres import connect
from tests.integration.system import PARTITIONS, Load, System
from tests.integration.test_serving_failures import eventually

pytestmark = pytest.mark.server


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Callable[[str], tuple[EmbeddedKafka, EmbeddedValkey, EmbeddedPostgres]]]:
    """Makes a place with servers of its own."""
    running: list[EmbeddedKafka | EmbeddedValkey | EmbeddedPostgres] = []

    def make(name: str) -> tuple[EmbeddedKafka, EmbeddedValkey, EmbeddedPostgres]:
        folder = tmp_path / name
        servers = EmbeddedKafka(folder / "k"), EmbeddedValkey(folder / "v"), EmbeddedPostgres(folder / "p")
        for server in servers:
            server.start()
            running.append(server)
        return servers

    yield make
    for server in running:
        server.stop()


def names(kind: str) -> str:
    """The same at both places."""
    return f"{kind}-drill"


def recorded(url: str, system: System) -> list[int]:
    """How far the source topic is recorded."""
    with connect(url, autocommit=True) as connection:
        rows = connection.execute(
            "SELECT next_offset FROM recorded WHERE topic = %s ORDER BY partition", (system.featureset.source.topic,)
        ).fetchall()
    return [row[0] for row in rows]


def checkpointed(url: str) -> int:
    try:
        with connect(url, autocommit=True) as connection:
            row = connection.execute('SELECT count(*) FROM checkpoints WHERE "offset" > 0').fetchone()
    except psycopg.errors.UndefinedTable:  # the recorder is still starting
        return 0
    return row[0] if row else 0


def run(program: str, *arguments: str) -> None:
    command = [str(EmbeddedPostgres.program(program)), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("forgotten", [0, 40])
def test_everything_is_lost_but_the_backup(
    tmp_path: Path,
    site: Callable[[str], tuple[EmbeddedKafka, EmbeddedValkey, EmbeddedPostgres]],
    namespace: str,
    forgotten: int,
) -> None:
    """`forgotten`: events of each partition that history has dropped after its retention; checkpoints hold them."""
    (tmp_path / "old").mkdir()
    kafka, valkey, postgres = site("old")
    backup = tmp_path / "freshet.dump"
    with closing(System(tmp_path / "old", (kafka, valkey), namespace, names, postgres=postgres.url)) as system:
        load = Load(system, 500, 9)
        load.start()
        system.processor()
        system.recorder(FRESHET_REDIS=valkey.url, FRESHET_CHECKPOINT_SECONDS="5")
        eventually(lambda: all(p and p.complete for p in system.progress()), 60)
        eventually(lambda: checkpointed(postgres.url) == PARTITIONS, 60)
        time.sleep(3)  # events behind the checkpoints
        load.stop()
        system.wait_processed()
        logs = system.logs()
        eventually(lambda: recorded(postgres.url, system) == [log.end for log in logs], 60)
        system.close()
        if forgotten:
            with connect(postgres.url) as connection:
                topic = (system.featureset.source.topic,)
                connection.execute(f'DELETE FROM event_log WHERE topic = %s AND "offset" < {forgotten}'.encode(), topic)
                connection.execute(f"UPDATE recorded SET first_offset = {forgotten} WHERE topic = %s".encode(), topic)
        run("pg_dump", "--format=custom", "--file", str(backup), postgres.url)
    for server in (kafka, valkey, postgres):
        server.kill()

    (tmp_path / "new").mkdir()
    kafka, valkey, postgres = site("new")
    run("pg_restore", "--exit-on-error", "--no-owner", "--dbname", postgres.url, str(backup))
    with closing(System(tmp_path / "new", (kafka, valkey), namespace, names, postgres=postgres.url)) as system:
        environment = {
            **os.environ,
            "FRESHET_KAFKA": kafka.bootstrap,
            "FRESHET_POSTGRES": postgres.url,
            "FRESHET_MANIFESTS": str(system.manifest),
            "FRESHET_NAMESPACE": namespace,
            "FRESHET_DEAD_LETTER_TOPIC": system.dead_letters,
        }
        command = [sys.executable, "-m", "freshet", "restore", "--replication", "1"]
        told = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert told.returncode == 0, told.stderr
        again = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert again.returncode == 1
        assert "nothing to restore" in again.stderr
        assert system.ends() == [log.end - forgotten for log in logs]
        system.processor()
        system.recorder(FRESHET_REDIS=valkey.url, FRESHET_CHECKPOINT_SECONDS="5")
        system.wait_processed()
        system.assert_exact(logs)
        # Life goes on where it stopped: new events, recorded once, on top of what came back.
        load = Load(system, 500, 10)
        load.start()
        time.sleep(3)
        load.stop()
        system.wait_processed()
        eventually(lambda: recorded(postgres.url, system) == system.ends(), 60)
        with connect(postgres.url, autocommit=True) as connection:
            row = connection.execute("SELECT count(*), count(DISTINCT topic_id) FROM event_log").fetchone()
        assert row == (sum(system.ends()), 1)
        if not forgotten:
            system.assert_exact(system.logs())
