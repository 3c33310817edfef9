"""Sending events to ingest: whole requests of many events, several under way, each sent again until it is answered."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from freshet.dev.errors import CommandFailed
from freshet.dev.http import NOT_ANSWERED, Answer, Connection

_IN_FLIGHT = 4
_EXAMPLES = 3
_LONGEST_WAIT_SECONDS = 10.0
_BUSY = (429, 503)
"""Answers that say: the same again, later."""


class Row(NamedTuple):
    """One event and where it came from."""

    number: int
    """Row of the file, or number of the event, from 1."""
    body: bytes
    """The event as JSON on one line."""


class Refusal(NamedTuple):
    """One event that ingest did not take."""

    row: int
    message: str


@dataclass
class Summary:
    """What became of the events."""

    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    """By reason."""
    examples: dict[str, list[Refusal]] = field(default_factory=dict)
    """The first few of each reason."""
    retries: int = 0
    """Requests that had to be sent again."""
    seconds: float = 0.0

    @property
    def total(self) -> int:
        """Accepted and refused."""
        return self.accepted + self.refused.total()

    def add(self, rows: list[Row], answer: dict[str, Any]) -> None:
        """Counts one answered request."""
        self.accepted += int(answer.get("accepted", 0))
        for rejected in answer.get("rejected", ()):
            reason = str(rejected["reason"])
            self.refused[reason] += 1
            shown = self.examples.setdefault(reason, [])
            if len(shown) < _EXAMPLES:
                shown.append(Refusal(rows[rejected["index"]].number, str(rejected["message"])))


class Sender:
    """Sends to one ingest service; `add` may be called again, `close` gives the sum of all."""

    def __init__(self, url: str, patience_seconds: float = 60, told: Callable[[Summary], None] | None = None) -> None:
        """`patience_seconds`: how long ingest may be unavailable. `told` is called after each answer.

        Raises ValueError for a bad URL.
        """
        Connection(url).close()
        self._url = url
        self._patience = patience_seconds
        self._told = told or (lambda _: None)
        self._local = threading.local()
        self._connections: list[Connection] = []
        self._closing = threading.Event()
        self._pool = ThreadPoolExecutor(_IN_FLIGHT, "send")
        self._pending: set[Future[tuple[list[Row], dict[str, Any], int]]] = set()
        self._began = time.monotonic()
        self.summary = Summary()

    def send(self, requests: Iterable[list[Row]]) -> None:
        """Sends each list as one request and waits for all answers. Raises CommandFailed when ingest stays away, or
        refuses a request as a whole."""
        for rows in requests:
            self.submit(rows)
        self.drain()

    def submit(self, rows: list[Row]) -> None:
        """Hands over one request; waits while enough are under way. Raises as `send`."""
        while len(self._pending) >= _IN_FLIGHT:
            self._collect(FIRST_COMPLETED)
        self._pending.add(self._pool.submit(self._post, rows))

    def drain(self) -> None:
        """Waits until every request is answered. Raises as `send`."""
        while self._pending:
            self._collect(FIRST_COMPLETED)

    def close(self) -> Summary:
        """Gives up what is under way and not yet answered."""
        self._closing.set()
        self._pool.shutdown(cancel_futures=True)
        for connection in self._connections:
            connection.close()
        return self.summary

    def _collect(self, when: str) -> None:
        done, self._pending = wait(self._pending, return_when=when)
        for future in done:
            rows, answer, retries = future.result()
            self.summary.add(rows, answer)
            self.summary.retries += retries
        self.summary.seconds = time.monotonic() - self._began
        self._told(self.summary)

    def _post(self, rows: list[Row]) -> tuple[list[Row], dict[str, Any], int]:
        """The answer and how often the request had to be sent again."""
        content = b"\n".join(row.body for row in rows)
        deadline = time.monotonic() + self._patience
        pause, retries = 0.1, 0
        while True:
            answer, problem = self._try(content)
            if answer is not None and answer.status not in _BUSY:
                return rows, _document(answer), retries
            if time.monotonic() > deadline or self._closing.is_set():
                raise CommandFailed(f"{self._url} takes no events: {problem}")
            asked = float(answer.headers.get("retry-after", "0")) if answer is not None else 0.0
            self._closing.wait(min(max(pause, asked), _LONGEST_WAIT_SECONDS))
            pause, retries = min(pause * 2, _LONGEST_WAIT_SECONDS), retries + 1

    def _try(self, content: bytes) -> tuple[Answer | None, str]:
        if not hasattr(self._local, "connection"):
            self._local.connection = Connection(self._url)
            self._connections.append(self._local.connection)
        try:
            answer = self._local.connection.call("POST", "/ingest", content, "application/x-ndjson")
        except NOT_ANSWERED as error:
            return None, str(error) or type(error).__name__
        return answer, f"status {answer.status}: {answer.body[:300].decode(errors='replace')}"


def _document(answer: Answer) -> dict[str, Any]:
    """What ingest says of each event. Raises CommandFailed where the request as a whole was wrong."""
    try:
        document = answer.json()
    except ValueError:
        document = None
    if not isinstance(document, dict) or "rejected" not in document:
        told = answer.body[:300].decode(errors="replace")
        raise CommandFailed(f"POST /ingest answered {answer.status}, which is no answer of ingest to events: {told}")
    return document
