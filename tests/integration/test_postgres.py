"""Connections and migrations of the history database, on a real PostgreSQL."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from freshet.dev.servers import EmbeddedPostgres
from freshet.stores.postgres import HistoryDown, NewerSchema, connect, migrate, migrations

pytestmark = pytest.mark.server


def test_a_schema_is_made_once(database: str) -> None:
    assert migrate(database) == [number for number, _ in migrations()]
    assert migrate(database) == []
    with connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM events").fetchone() == (0,)


def test_many_that_start_together_migrate_once(database: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        applied = list(pool.map(lambda _: migrate(database), range(8)))
    assert sorted(number for one in applied for number in one) == [number for number, _ in migrations()]


def test_a_newer_schema_is_left_alone(database: str) -> None:
    migrate(database)
    with connect(database) as connection:
        connection.execute("INSERT INTO migrations (number) VALUES (9999)")
    with pytest.raises(NewerSchema, match="migration 9999"):
        migrate(database)


def test_a_database_of_another_encoding_is_refused_with_what_to_do(database: str) -> None:
    """As initdb makes them where no locale is set."""
    name = "ascii_only"
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0".encode())
        try:
            with pytest.raises(HistoryDown, match="SQL_ASCII, it must be UTF8: make one with createdb"):
                migrate(database.rpartition("/")[0] + "/" + name)
        finally:
            connection.execute(f"DROP DATABASE {name}".encode())


def test_a_database_that_is_away_is_said_without_its_password(own_postgres: EmbeddedPostgres) -> None:
    url = own_postgres.url.replace("freshet@", "freshet:geheim@")
    own_postgres.kill()
    with pytest.raises(HistoryDown) as caught:
        connect(url)
    assert "geheim" not in str(caught.value)
    own_postgres.start()
    with connect(url) as connection, pytest.raises(psycopg.errors.UndefinedTable):
        connection.execute("SELECT * FROM events")
