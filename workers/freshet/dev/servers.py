"""The embedded servers of `freshet dev` and of the tests: the real programs, on free ports of 127.0.0.1."""

from freshet.dev.kafka_files import NotInstalled
from freshet.dev.kafka_server import EmbeddedKafka, ServerFailed
from freshet.dev.valkey_server import EmbeddedValkey

__all__ = ["EmbeddedKafka", "EmbeddedValkey", "NotInstalled", "ServerFailed"]
