"""The embedded servers of `freshet dev` and of the tests: the real programs, on free ports of 127.0.0.1."""

from freshet.dev.errors import NotInstalled, ServerFailed
from freshet.dev.kafka_server import EmbeddedKafka
from freshet.dev.postgres_server import EmbeddedPostgres
from freshet.dev.valkey_server import EmbeddedValkey

__all__ = ["EmbeddedKafka", "EmbeddedPostgres", "EmbeddedValkey", "NotInstalled", "ServerFailed"]
