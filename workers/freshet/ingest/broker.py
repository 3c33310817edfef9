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

    def __init__(
        self,
        client: AdminClient,
        featuresets: Sequence[FeatureSet],
        dead_letter_topic: str,
        *,
        manage: bool = True,
        live: bool = False,
    ) -> None:
        """Without `manage` no topic is ever made. `live`: the FeatureSets change, so that a topic which is missing
        keeps nobody from sending to the others."""
        self._client = client
        self._featuresets = featuresets
        self._dead_letter_topic = dead_letter_topic
        self._live = live
        self._manage = manage
        self._made = not manage
        self.problem: str | None = "Kafka was not reached yet"
        """Why no event can be taken; None while Kafka answers and (unless live) has all topics."""
        self.topics: frozenset[str] = frozenset()
        """Those that Kafka had at the last look."""
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="broker", daemon=True)

    def start(self) -> None:
        """Begins to look."""
        self._thread.start()

    def update(self, featuresets: Sequence[FeatureSet]) -> None:
        """These are the FeatureSets from now on; looks at once. Callable from any thread."""
        self._featuresets = featuresets
        self._made = not self._manage
        self._wake.set()

    def missing(self) -> list[str]:
        """Topics of the FeatureSets that Kafka did not have at the last look."""
        return sorted({one.source.intake for one in self._featuresets} - self.topics)

    def close(self) -> None:
        """Ends looking. A look that waits for Kafka is left to end with the process."""
        self._stop.set()
        self._wake.set()
        self._thread.join(1)

    def _watch(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            try:
                found = self._look()
            except KafkaException as error:
                found = f"Kafka: {error.args[0].str()}"
            except ConfigurationError as error:
                found = str(error)
            if found != self.problem:
                _log.log(logging.WARNING if found else logging.INFO, found or "Kafka is ready")
            self.problem = found
            self._wake.wait(_LOOK_SECONDS if found is None else 0.5)

    def _look(self) -> str | None:
        self._make()
        self.topics = frozenset(self._client.list_topics(timeout=_ANSWER_SECONDS).topics)
        missing = self.missing()
        if missing:
            # A managed topic that was deleted is made again; its records are gone, which processors report.
            self._made = not self._manage
        return f"there is no topic {', '.join(missing)}" if missing and not self._live else None

    def _make(self) -> None:
        if self._made:
            return
        featuresets = self._featuresets
        try:
            made = ensure_topics(self._client, featuresets, self._dead_letter_topic)
        except ConfigurationError as error:
            if not self._live:
                raise
            _log.warning("topics not made", extra={"error": str(error)})
            return
        self._made = featuresets is self._featuresets
        if made:
            _log.info("topics made", extra={"topics": made})
