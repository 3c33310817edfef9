"""Watching the source topic: made anew, or with another number of partitions, it is not the log that states are of."""

from __future__ import annotations

import logging
from collections.abc import Callable

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from freshet.spec.definition import Source
from freshet.stores.kafka import TopicInfo, describe_topic

log = logging.getLogger(__name__)

_LOOK_MS = 10_000


class SourceWatch:
    """What is known of the source topic."""

    def __init__(self, connect: Callable[[], AdminClient], source: Source) -> None:
        self._connect = connect
        self._admin = connect()
        self._source = source
        self._looked_ms = 0
        self._topic_id: str | None = None
        self.away: str | None = None
        """Why the topic could not be looked at the last time: there is nothing to process, and nothing to mend here."""
        self.problem: str | None = None
        """Why nothing of this topic may be processed."""

    def current(self) -> TopicInfo:
        """The topic as it is now. Raises KafkaException if it is missing or Kafka does not answer."""
        try:
            info = describe_topic(self._admin, self._source.topic)
        except KafkaException as error:
            self.away = self.why_not(error)
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                self._admin = self._connect()  # as freshet.stores.answers says
            raise
        self.away = None
        self.problem = self._judge(info)
        return info

    def why_not(self, error: KafkaException) -> str:
        """What it means that `current` raised this."""
        if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            return f"there is no topic {self._source.topic} yet: it is waited for"
        return f"Kafka: {error.args[0].str()}"

    def look(self, now_ms: int) -> str | None:
        """Looks at the topic every now and then; returns why work on it has to stop."""
        if abs(now_ms - self._looked_ms) >= _LOOK_MS:
            self._looked_ms = now_ms
            try:
                self.current()
            except KafkaException as error:
                log.warning("source topic could not be looked at", extra={"error": str(error)})
        return self.problem

    def _judge(self, info: TopicInfo) -> str | None:
        if self._topic_id not in (None, info.topic_id):
            return (
                f"topic {self._source.topic} was deleted and made anew: states are of the old one; "
                "restart the processor, and remove the FeatureSet's keys from the store to build them from the new one"
            )
        self._topic_id = info.topic_id
        wanted = self._source.partitions
        if info.partitions != wanted:
            return (
                f"topic {self._source.topic} has {info.partitions} partitions, spec.source.partitions is {wanted}: "
                "keys would move; make the numbers equal"
            )
        return None
