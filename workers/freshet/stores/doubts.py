"""Notices when a producer may write a second time what Kafka has already, and then report it as delivered.

librdkafka gives new numbers to records that it has sent without an answer, and sends them once more, when another one
has timed out or was refused (it raises its epoch): Kafka cannot recognise those. Its reports do not tell, and no
setting prevents it (`enable.gapless.guarantee` leaves time-outs out). What tells is its own log with `debug=eos`: lines
come through the queue of the reports, and ahead of the report of anything that is sent after them.
"""

from __future__ import annotations

import logging
import re

_UNSURE = re.compile(r"\]: (\S+ \[\d+\]) beginning partition drain")
"""A partition where something was sent without an answer, or whose leader changed: then the former is not told."""
_NEW = re.compile(r"\]: (\S+ \[\d+\]) changed PID\{Invalid\}")
"""One to which nothing was sent until now."""
_SKIPPED = re.compile(r"ProduceRequest for (\S+ \[\d+\]) .* due to skipped sequence numbers")
"""One that refuses what comes until the next epoch: an earlier record has never reached it."""
_BUMPED = "bumped epoch"


class Doubts:
    """The logger of a producer; hands on what it is told. Belongs to the thread that polls."""

    def __init__(self, log: logging.Logger) -> None:
        self.count = 0
        """Grows when there is doubt of all that was handed to the producer before and is not reported yet."""
        self._log = log
        self._unsure: set[str] = set()
        self._skipped: set[str] = set()

    def log(self, level: int, message: str, kind: str, client: str, text: str) -> None:
        """What the client library calls, for each line."""
        self._log.log(level, message, kind, client, text)
        if kind == "DRAIN" and (found := _UNSURE.search(text)):
            self._unsure |= {found[1]} - self._skipped
        elif kind == "NEWPID" and (found := _NEW.search(text)):
            self._unsure.discard(found[1])
        elif kind == "ERRSEQ" and (found := _SKIPPED.search(text)):
            self._skipped.add(found[1])
        elif kind == "DRAIN" and _BUMPED in text:
            self.count += bool(self._unsure)
            self.settle()

    def settle(self) -> None:
        """All that was handed to the producer is reported."""
        self._unsure.clear()
        self._skipped.clear()
