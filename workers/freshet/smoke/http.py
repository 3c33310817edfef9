"""HTTP calls of the checks: bounded in time, with errors that say which URL and what to do."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import ssl
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from freshet.runtime.secrets import without_logins
from freshet.runtime.variables import ConfigurationError
from freshet.smoke.deadline import Deadline
from freshet.smoke.report import ProbeFailed

_CALL_SECONDS = 5.0
_MOST_BYTES = 64 << 20
_KINDS = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
_BROKEN = (OSError, http.client.HTTPException)


class Answer(NamedTuple):
    """What came back."""

    url: str
    status: int
    body: bytes

    def json(self) -> Any:
        """The body as JSON. Raises ProbeFailed."""
        try:
            return json.loads(self.body)
        except ValueError:
            sentence = f"{self.url} answers {self.status} with something that is not JSON"
            raise ProbeFailed(
                sentence, "this is not a Freshet service: check the URL and what stands before it"
            ) from None

    def error(self) -> tuple[str, str]:
        """Code and message of an error answer; empty where it has none of our form."""
        try:
            found = json.loads(self.body)["error"]
            return str(found["code"]), str(found["message"])[:300]
        except (ValueError, KeyError, TypeError):
            return "", ""

    def said(self) -> str:
        """Status and message, for sentences."""
        message = self.error()[1]
        return f"{self.status}: {message}" if message else f"{self.status}"


class Client:
    """One service. Calls raise ProbeFailed where it does not answer."""

    def __init__(self, name: str, option: str, url: str, deadline: Deadline) -> None:
        """`name` and `option` are for sentences. Raises ConfigurationError for a URL that is none."""
        wrong = f"{option}: {without_logins(url)} is not of the form http://host:port"
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ConfigurationError(wrong) from None
        if parts.scheme not in _KINDS or not parts.hostname or parts.query or parts.fragment:
            raise ConfigurationError(wrong)
        self.name = name
        self.option = option
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        self.url = f"{parts.scheme}://{host}{f':{port}' if port else ''}{parts.path.rstrip('/')}"
        """Without login."""
        self._base = parts.path.rstrip("/")
        self._headers: dict[str, str] = {}
        if parts.username is not None:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
        self._deadline = deadline
        self._connection = _KINDS[parts.scheme](parts.hostname, port)

    def get(self, path: str) -> Answer:
        """GET on a kept connection; once more where the server has closed that meanwhile."""
        kept = self._connection.sock is not None
        try:
            return self._call("GET", path, None, "")
        except ConnectionError as error:
            if not kept:
                raise self._failure(error) from None
        except _BROKEN as error:
            raise self._failure(error) from None
        try:
            return self._call("GET", path, None, "")
        except _BROKEN as error:
            raise self._failure(error) from None

    def post(self, path: str, body: bytes, content_type: str = "application/json") -> Answer:
        """POST on a new connection: it is never sent twice."""
        self._connection.close()
        try:
            return self._call("POST", path, body, content_type)
        except _BROKEN as error:
            raise self._failure(error) from None

    def close(self) -> None:
        """Closes the kept connection."""
        self._connection.close()

    def _call(self, method: str, path: str, body: bytes | None, content_type: str) -> Answer:
        headers = {**self._headers, **({"Content-Type": content_type} if body is not None else {})}
        seconds = self._deadline.at_most(_CALL_SECONDS)
        self._connection.timeout = seconds
        if self._connection.sock is not None:
            self._connection.sock.settimeout(seconds)
        try:
            self._connection.request(method, self._base + path, body, headers)
            answer = self._connection.getresponse()
            content = answer.read(_MOST_BYTES)
        except _BROKEN:
            self._connection.close()
            raise
        return Answer(self.url + path.partition("?")[0], answer.status, content)

    def _failure(self, error: Exception) -> ProbeFailed:
        where = f"{self.name} at {self.url}"
        advice = (
            f"start it (freshet dev FILE; on a cluster: kubectl get pods, kubectl port-forward), or give its URL with "
            f"{self.option}"
        )
        if isinstance(error, ssl.SSLError):
            return ProbeFailed(
                f"{where}: TLS failed: {error.reason}", "trust its certificate with SSL_CERT_FILE, or use http://"
            )
        if isinstance(error, ConnectionRefusedError):
            return ProbeFailed(f"{where}: nothing listens there", advice)
        if isinstance(error, socket.gaierror):
            return ProbeFailed(f"{where}: no such host", f"give its URL with {self.option}")
        if isinstance(error, TimeoutError):
            return ProbeFailed(f"{where}: no answer in time", "see its log and load; or " + advice)
        return ProbeFailed(f"{where}: the connection broke ({type(error).__name__})", "see its log; or " + advice)
