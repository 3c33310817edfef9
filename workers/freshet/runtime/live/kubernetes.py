"""One ConfigMap over the Kubernetes API, as a pod sees it: listed once, then watched.

No client library: it would cost more memory than all FeatureSets together. What is asked is list and watch with a
field selector of one name, which a Role can allow for that name alone.
"""

from __future__ import annotations

import base64
import json
import random
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from freshet.runtime.live.payload import KEY

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_ANSWER_SECONDS = 5.0
_WATCH_SECONDS = (60, 90)
"""How long one watch goes on: not all pods of a deployment come back in the same second."""
_MAX_ANSWER_BYTES = 8 << 20
"""A ConfigMap has at most 1 MiB, and base64 and old managed fields around it."""

_KEEP_ALIVE = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 11_000}
"""A silent watch over a connection that is gone is noticed within about 11 s."""


class ApiError(Exception):
    """The API server answered with something else than what was asked for."""


class Gone(ApiError):
    """The version to watch from is too old: list again."""


class Event(NamedTuple):
    """One look at the ConfigMap, or a change of it."""

    version: str
    """To watch from."""
    changed: bool
    """False: only time has passed."""
    content: bytes | None
    """None: there is no ConfigMap, or nothing in it."""


@dataclass(frozen=True, slots=True)
class ApiServer:
    """Where the API server is, and who asks it."""

    host: str
    port: int
    account: Path = SERVICE_ACCOUNT
    """Folder with `token` and `ca.crt`; read for every connection, since both are renewed."""
    tls: bool = True

    @classmethod
    def of_pod(cls, environment: Mapping[str, str]) -> ApiServer | None:
        """The one that Kubernetes tells every container of; None outside of a cluster."""
        host, port = environment.get("KUBERNETES_SERVICE_HOST", ""), environment.get("KUBERNETES_SERVICE_PORT", "443")
        return cls(host, int(port)) if host and port.isdigit() else None

    def connect(self, seconds: float) -> HTTPConnection:
        """A new connection, not opened yet; `seconds` bounds every wait for the network. Raises OSError."""
        if not self.tls:
            return HTTPConnection(self.host, self.port, timeout=seconds)
        trust = ssl.create_default_context(cafile=str(self.account / "ca.crt"))
        return HTTPSConnection(self.host, self.port, timeout=seconds, context=trust)

    def token(self) -> str:
        """Raises OSError."""
        return (self.account / "token").read_text(encoding="ascii").strip()


class ConfigMapApi:
    """Asks for one ConfigMap. All methods but `close` belong to one thread."""

    def __init__(self, server: ApiServer, namespace: str, name: str) -> None:
        self._server = server
        self._path = f"/api/v1/namespaces/{namespace}/configmaps"
        self._selector = {"fieldSelector": f"metadata.name={name}"}
        self.name = f"{namespace}/{name}"
        self._open: socket.socket | None = None
        self._closed = False

    def look(self) -> Event:
        """The ConfigMap as it is now. Raises ApiError, OSError or HTTPException."""
        with self._get(self._selector, _ANSWER_SECONDS) as response:
            found = _object(response.read(_MAX_ANSWER_BYTES + 1))
        version = _version(found)
        items = found.get("items") or []
        if not isinstance(items, list):
            raise ApiError("the answer is not a list of ConfigMaps")
        return Event(version, True, _content(items[0]) if items else None)

    def watch(self, version: str) -> Iterator[Event]:
        """Changes after a version, until the server ends the watch. Raises Gone, ApiError, OSError, HTTPException."""
        seconds = random.randint(*_WATCH_SECONDS)  # noqa: S311  # spreads load; no secret
        options = {"watch": "1", "resourceVersion": version, "timeoutSeconds": seconds, "allowWatchBookmarks": "true"}
        with self._get({**self._selector, **options}, seconds + 15) as response:
            while line := response.readline(_MAX_ANSWER_BYTES + 1):
                yield _event(_object(line))

    def close(self) -> None:
        """Ends what is under way, from any thread."""
        self._closed = True
        connected = self._open
        if connected is not None:
            with suppress(OSError):  # it has ended by itself
                connected.shutdown(socket.SHUT_RDWR)

    @contextmanager
    def _get(self, query: Mapping[str, Any], seconds: float) -> Iterator[HTTPResponse]:
        connection = self._server.connect(_ANSWER_SECONDS)
        headers = {"Authorization": f"Bearer {self._server.token()}", "Accept": "application/json"}
        try:
            connection.connect()
            self._open = connected = connection.sock  # the connection forgets it where the server closes after it
            _keep_alive(connected)
            if self._closed:
                raise ApiError("closed")
            connection.request("GET", f"{self._path}?{urlencode(query)}", headers=headers)
            response = connection.getresponse()
            if response.status == 410:
                raise Gone("the version is gone")
            if response.status != 200:
                raise ApiError(_refusal(response))
            connected.settimeout(seconds)
            yield response
        finally:
            self._open = None
            connection.close()


def _keep_alive(connected: socket.socket) -> None:
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEP_ALIVE.items():
        if hasattr(socket, name):  # not every system has all of them
            connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _refusal(response: HTTPResponse) -> str:
    """The API server's own sentence, which names the account and what it may not do; never the token."""
    try:
        said = str(_object(response.read(64 << 10)).get("message", ""))
    except (ApiError, OSError, HTTPException):
        said = ""
    return f"{response.status} {response.reason}{': ' if said else ''}{said[:300]}"


def _object(text: bytes) -> dict[str, Any]:
    if len(text) > _MAX_ANSWER_BYTES:
        raise ApiError(f"the answer is larger than {_MAX_ANSWER_BYTES >> 20} MiB")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise ApiError("the answer is not JSON") from None
    if not isinstance(found, dict):
        raise ApiError("the answer is not a JSON object")
    return found


def _version(found: Mapping[str, Any]) -> str:
    metadata = found.get("metadata")
    version = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
    if not isinstance(version, str):
        raise ApiError("the answer has no resourceVersion")
    return version


def _content(found: Any) -> bytes | None:
    data = found.get("binaryData") if isinstance(found, dict) else None
    text = data.get(KEY) if isinstance(data, dict) else None
    if text is None:
        return None
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, TypeError):
        raise ApiError(f"binaryData.{KEY} is not base64") from None


def _event(found: Mapping[str, Any]) -> Event:
    kind, thing = found.get("type"), found.get("object")
    if not isinstance(thing, dict):
        raise ApiError("the watch sent an event without an object")
    if kind == "ERROR":
        if thing.get("code") == 410:
            raise Gone("the version is gone")
        raise ApiError(f"the watch failed: {str(thing.get('message', ''))[:300]}")
    if kind == "BOOKMARK":
        return Event(_version(thing), False, None)
    return Event(_version(thing), True, None if kind == "DELETED" else _content(thing))
