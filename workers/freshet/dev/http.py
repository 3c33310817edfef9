"""Small HTTP calls to services on this machine, over a connection that is kept."""

from __future__ import annotations

import http.client
import json
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

NOT_ANSWERED = (OSError, http.client.HTTPException)
"""What a call raises when the service is not there or the connection breaks."""


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    """By lower-case name."""
    body: bytes

    def json(self) -> Any:
        """The body as JSON. Raises ValueError."""
        return json.loads(self.body)


class Connection:
    """One kept connection; used by one thread at a time."""

    def __init__(self, url: str, timeout_seconds: float = 30) -> None:
        """Raises ValueError for a URL that is not http(s)://host[:port][/path]."""
        parts = urlsplit(url)
        kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
        if parts.scheme not in kinds or not parts.hostname:
            raise ValueError(f'"{url}" is not of the form http://host:port')
        self._base = parts.path.rstrip("/")
        self._connection = kinds[parts.scheme](parts.hostname, parts.port, timeout=timeout_seconds)

    def call(self, method: str, path: str, body: bytes | None = None, content_type: str = "application/json") -> Answer:
        """One request. A kept connection that the server has closed meanwhile is opened again by the next call.

        Raises one of NOT_ANSWERED.
        """
        headers = {"Content-Type": content_type} if body is not None else {}
        try:
            self._connection.request(method, self._base + path, body, headers)
            answer = self._connection.getresponse()
            content = answer.read()
        except NOT_ANSWERED:
            self._connection.close()
            raise
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, content)

    def get(self, path: str) -> Answer:
        """GET. Raises one of NOT_ANSWERED."""
        return self.call("GET", path)

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def fetch(url: str, path: str, timeout_seconds: float = 2) -> Answer:
    """One GET on a connection of its own. Raises one of NOT_ANSWERED."""
    with Connection(url, timeout_seconds) as connection:
        return connection.get(path)
