"""Whether Kafka can take events now: watched by a thread, so that requests are told at once and probes cost nothing."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from freshet.runtime.settings import ConfigurationError
from freshet.spec.definition import FeatureSet
from freshet.stores.kafka import ensure_topics

_LOOK_SECONDS = 2.0
"""Between two looks; after a failed one half a second."""
_ANSWER_SECONDS = 3.0

_log = logging.getLogger(__name__)


class Broker:
    """Makes the managed topics, then looks after them."""

    def __init__(self, client: AdminClient, featuresets: Sequence[FeatureSet], dead_letter_topic: str) -> None:
        self._client = client
        self._featuresets = featuresets
        self._dead_letter_topic = dead_letter_topic
        self._topics = sorted({one.source.topic for one in featuresets})
        self._made = False
        self.problem: str | None = "Kafka was not reached yet"
        """Why no event can be taken; None while Kafka answers and has all topics."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="broker", daemon=True)

    def start(self) -> None:
        """Begins to look."""
        self._thread.start()

    def close(self) -> None:
        """Ends looking. A look that waits for Kafka is left to end with the process."""
        self._stop.set()
        self._thread.join(1)

    def _watch(self) -> None:
        while not self._stop.is_set():
            try:
                found = self._look()
            except KafkaException as error:
                found = f"Kafka: {error.args[0].str()}"
            except ConfigurationError as error:
                found = str(error)
            if found != self.problem:
                _log.log(logging.WARNING if found else logging.INFO, found or "Kafka is ready")
            self.problem = found
            self._stop.wait(_LOOK_SECONDS if found is None else 0.5)

    def _look(self) -> str | None:
        if not self._made:
            made = ensure_topics(self._client, self._featuresets, self._dead_letter_topic)
            self._made = True
            if made:
                _log.info("topics made", extra={"topics": made})
        known = self._client.list_topics(timeout=_ANSWER_SECONDS).topics
        missing = [topic for topic in self._topics if topic not in known]
        if missing:
            # A managed topic that was deleted is made again; its records are gone, which processors report.
            self._made = False
            return f"there is no topic {', '.join(missing)}"
        return None
