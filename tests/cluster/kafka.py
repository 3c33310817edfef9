"""What tests ask Kafka and do to it behind the operator's back."""

from __future__ import annotations

from confluent_kafka import TopicCollection
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.cimpl import NewTopic

_SECONDS = 15.0


class Topics:
    """The topics of a Kafka."""

    def __init__(self, bootstrap: str) -> None:
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})

    def names(self, start: str = "") -> set[str]:
        """Those whose names begin so."""
        return {name for name in self._admin.list_topics(timeout=_SECONDS).topics if name.startswith(start)}

    def partitions(self, topic: str) -> int:
        """How many it has; 0: there is no such topic."""
        found = self._admin.list_topics(timeout=_SECONDS).topics.get(topic)
        return len(found.partitions) if found is not None else 0

    def config(self, topic: str) -> dict[str, str]:
        """Its whole configuration."""
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
        entries = self._admin.describe_configs([resource], request_timeout=_SECONDS)[resource].result()
        return {name: entry.value for name, entry in entries.items()}

    def identity(self, topic: str) -> str:
        """Its id, which changes when it is deleted and made anew."""
        found = self._admin.describe_topics(TopicCollection([topic]), request_timeout=_SECONDS)
        return str(found[topic].result().topic_id)

    def make(self, topic: str, partitions: int, config: dict[str, str] | None = None) -> None:
        """Makes it and waits until it is there."""
        new = NewTopic(topic, num_partitions=partitions, replication_factor=1, config=config or {})
        for future in self._admin.create_topics([new], operation_timeout=_SECONDS).values():
            future.result()

    def delete(self, topic: str) -> None:
        """Deletes it and waits until it is gone."""
        for future in self._admin.delete_topics([topic], operation_timeout=_SECONDS).values():
            future.result()
