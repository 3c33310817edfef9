"""The topics as they are: which exist, their ids, their numbers of partitions. Asked in a thread of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from freshet.stores.answers import answer, started
from freshet.stores.topics import topic_uuid

log = logging.getLogger(__name__)

_LOOK_MS = 5_000
_SOON_MS = 500
"""While something is missing."""
_ANSWER_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Seen:
    """A topic that exists. Its id tells a topic from one of the same name that was made later."""

    topic_id: UUID
    partitions: int


class TopicWatch:
    """Knows the wanted topics as of a moment ago."""

    def __init__(self, connect: Callable[[], AdminClient]) -> None:
        self._connect = connect
        self._admin = connect()
        self._asked: Future[dict[str, Seen]] | None = None
        self._at_ms = 0
        self.seen: Mapping[str, Seen] = {}
        self.problem: str | None = "Kafka was not asked yet"
        """Why it is not known what there is."""

    def look(self, wanted: Sequence[str], now_ms: int) -> bool:
        """Asks every now and then; whether there is a new answer, in `seen`. Where none is wanted nobody is asked."""
        if self._asked is None and not wanted:
            news = self.problem is not None or bool(self.seen)
            self.seen, self.problem = {}, None
            return news
        if self._asked is None:
            if now_ms >= self._at_ms:
                self._asked = started(partial(self._ask, list(wanted)))
            return False
        if not self._asked.done():
            return False
        asked, self._asked = self._asked, None
        try:
            self.seen, self.problem = asked.result(), None
        except KafkaException as error:
            self.problem = f"Kafka: {error.args[0].str()}"
        missing = self.problem or any(name not in self.seen for name in wanted)
        self._at_ms = now_ms + (_SOON_MS if missing else _LOOK_MS)
        return self.problem is None

    def soon(self) -> None:
        """Something looks odd: ask again at once."""
        self._at_ms = 0

    def _ask(self, wanted: list[str]) -> dict[str, Seen]:
        try:
            return self._described(wanted)
        except KafkaException:
            self._admin = self._connect()  # as freshet.stores.answers says
            raise

    def _described(self, wanted: list[str]) -> dict[str, Seen]:
        found: dict[str, Seen] = {}
        described = self._admin.describe_topics(TopicCollection(wanted), request_timeout=_ANSWER_SECONDS)
        for name, future in described.items():
            try:
                topic = answer(future, _ANSWER_SECONDS)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise
                continue
            found[name] = Seen(topic_uuid(str(topic.topic_id)), len(topic.partitions))
        return found
