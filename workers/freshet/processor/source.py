"""Watching the source topic: made anew, or with another number of partitions, it is not the log that states are of."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from freshet.spec.definition import Source
from freshet.stores.answers import started
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
        self._asked: Future[TopicInfo] | None = None
        self._topic_id: str | None = None
        self.away: str | None = None
        """Why the topic could not be looked at the last time: there is nothing to process, and nothing to mend here."""
        self.problem: str | None = None
        """Why nothing of this topic may be processed."""

    def current(self) -> TopicInfo:
        """The topic as it is now. Raises KafkaException if it is missing or Kafka does not answer."""
        self._asked = None  # whatever it says is older
        return self._heard(self._ask)

    def why_not(self, error: KafkaException) -> str:
        """What it means that `current` raised this."""
        if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            return f"there is no topic {self._source.topic} yet: it is waited for"
        return f"Kafka: {error.args[0].str()}"

    def look(self, now_ms: int) -> str | None:
        """Has the topic looked at every now and then; returns why work on it has to stop.

        Nobody waits for the answer: of several brokers one may be silent while others have events.
        """
        if self._asked is None and abs(now_ms - self._looked_ms) >= _LOOK_MS:
            self._looked_ms = now_ms
            self._asked = started(self._ask)
        elif self._asked is not None and self._asked.done():
            asked, self._asked = self._asked, None
            try:
                self._heard(asked.result)
            except KafkaException as error:
                log.warning("source topic could not be looked at", extra={"error": str(error)})
        return self.problem

    def _ask(self) -> TopicInfo:
        try:
            return describe_topic(self._admin, self._source.topic)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                self._admin = self._connect()  # as freshet.stores.answers says
            raise

    def _heard(self, answer: Callable[[], TopicInfo]) -> TopicInfo:
        try:
            info = answer()
        except KafkaException as error:
            self.away = self.why_not(error)
            raise
        self.away = None
        self.problem = self._judge(info)
        return info

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
