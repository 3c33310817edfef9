"""`freshet purge`: all keys of one revision go, and no other key, on one server and on a cluster."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from freshet.cli import app
from freshet.dev.servers import EmbeddedValkey
from freshet.spec import naming
from freshet.stores.postgres import connect as connect_postgres
from freshet.stores.postgres import migrate
from freshet.stores.purge import Purge, StillWritten
from freshet.stores.redis import Client, connect, execute
from freshet.stores.states import States
from tests.valkey_cluster import valkey_cluster

pytestmark = pytest.mark.server

REVISION, OTHER = "0123456789", "0123456780"


def fill(client: Client, namespace: str, name: str, revision: str, entities: int, partitions: int = 3) -> set[str]:
    """Keys as a processor has them."""
    keys = set()
    for partition in range(partitions):
        tag = naming.tag(namespace, name, revision, partition)
        keys |= {naming.progress_key(tag), naming.source_key(tag), naming.duplicates_key(tag)}
        keys |= {naming.duplicates_bucket_key(tag, minute) for minute in range(5)}
        keys |= {naming.entity_key(tag, f"}}*[{i}]?") for i in range(entities)}
    for key in keys:
        execute(client, "SET", key, b"x")
    return keys


def left(client: Client, keys: set[str]) -> int:
    return sum(execute(client, "EXISTS", key) for key in keys)


def others(client: Client, namespace: str) -> set[str]:
    """Keys that look alike."""
    found = fill(client, namespace, "a", OTHER, 20) | fill(client, namespace, "ab", REVISION, 20)
    found |= fill(client, f"x{namespace}", "a", REVISION, 20) | fill(client, namespace, "a", f"{REVISION}0", 5)
    head = f"{namespace}/a/{REVISION}"
    for key in (f"{{{head}/12}}:e:x", f"{{{head}/x}}:e:x", f"{{{head}}}:e:x", head):
        execute(client, "SET", key, b"x")
        found.add(key)
    return found


def test_only_the_keys_of_the_revision(valkey: EmbeddedValkey, namespace: str) -> None:
    client = connect(valkey.url)
    mine, rest = fill(client, namespace, "a", REVISION, 700), others(client, namespace)
    told: list[int] = []
    assert Purge(client, namespace, "a", REVISION, 3, 1_000_000).run(told.append) == len(mine)
    assert told[-1] == len(mine)
    assert (left(client, mine), left(client, rest)) == (0, len(rest))
    assert Purge(client, namespace, "a", REVISION, 3, 1_000_000).run() == 0
    client.close()


def test_a_cluster(tmp_path: Path) -> None:
    with valkey_cluster(tmp_path / "c") as url:
        client = connect(url)
        mine, rest = fill(client, "n", "a", REVISION, 100, partitions=12), others(client, "n")
        assert Purge(client, "n", "a", REVISION, 12, 1_000_000).run() == len(mine)
        assert left(client, mine) == 0
        assert left(client, rest) == len(rest)
        client.close()


def test_the_rate_is_kept_and_progress_goes_first(valkey: EmbeddedValkey, namespace: str) -> None:
    client = connect(valkey.url)
    mine = fill(client, namespace, "a", REVISION, 400, partitions=1)
    progress = naming.progress_key(naming.tag(namespace, "a", REVISION, 0))
    seen: list[tuple[int, int]] = []
    began = time.monotonic()
    Purge(client, namespace, "a", REVISION, 1, 500).run(
        lambda freed: seen.append((freed, execute(client, "EXISTS", progress)))
    )
    assert 0.5 < time.monotonic() - began < 5
    assert len(seen) >= 400 // 50
    assert {exists for _, exists in seen} == {0}
    assert left(client, mine) == 0
    client.close()


def test_a_writer_that_goes_on_is_told_of(valkey: EmbeddedValkey, namespace: str) -> None:
    client = connect(valkey.url)
    mine = fill(client, namespace, "a", REVISION, 3, partitions=1)
    key = naming.entity_key(naming.tag(namespace, "a", REVISION, 0), "x")
    with pytest.raises(StillWritten, match="end their processors first"):
        Purge(client, namespace, "a", REVISION, 1, 5000).run(lambda freed: execute(client, "SET", key, b"x"))
    assert left(client, mine) == 0
    execute(client, "UNLINK", key)
    client.close()


def test_the_command(valkey: EmbeddedValkey, namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRESHET_REDIS", valkey.url)
    client = connect(valkey.url)
    mine = fill(client, namespace, "a", REVISION, 10)
    good = ["--featureset", f"{namespace}/a", "--revision", REVISION, "--partitions", "3"]
    runner = CliRunner()
    result = runner.invoke(app, ["purge", *good])
    assert (result.exit_code, left(client, mine)) == (0, 0), result.output
    assert f"{len(mine)} keys" in " ".join(result.output.split())
    assert runner.invoke(app, ["purge", *good]).exit_code == 0
    for option, value, told in (
        ("--featureset", "a", "NAMESPACE/NAME"),
        ("--featureset", "a/b*{}", "NAMESPACE/NAME"),
        ("--revision", "*", "10 hexadecimal digits"),
        ("--redis", "http://u:secret@h", "scheme"),
        ("--redis", "redis://127.0.0.1:1", "refused"),
    ):
        result = runner.invoke(app, ["purge", *good, option, value])
        assert result.exit_code in (1, 2), option
        assert told in result.output
        assert "secret" not in result.output
    client.close()


def test_checkpoints_go_too_if_asked(tmp_path: Path, database: str) -> None:
    migrate(database)
    owners = [f"shop/clicks/{revision}" for revision in (REVISION, OTHER)]
    with connect_postgres(database) as connection:
        for owner in owners:
            connection.execute(
                "INSERT INTO checkpoints VALUES (%s, 0, gen_random_uuid(), 5, NULL, now())",
                (owner,),
            )
            connection.execute("INSERT INTO entity_states VALUES (%s, 0, 'a', 5, NULL, 'x')", (owner,))
    with EmbeddedValkey(tmp_path) as server:
        options = ["--featureset", "shop/clicks", "--revision", REVISION, "--partitions", "3", "--redis", server.url]
        result = CliRunner().invoke(app, ["purge", *options, "--postgres", database])
    assert result.exit_code == 0, result.output
    assert "checkpoints of 1 states deleted" in result.output
    assert [States(database).latest(owner, 0) is None for owner in owners] == [True, False]
