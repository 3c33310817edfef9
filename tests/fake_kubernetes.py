"""An API server that knows one ConfigMap: list and watch, and everything that may go wrong with them."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from freshet.runtime.live.kubernetes import ApiServer, ConfigMapApi
from freshet.runtime.live.payload import KEY

NAMESPACE, NAME, TOKEN = "freshet-system", "freshet-featuresets", "a-token"


def manifest(text: str, namespace: str | None = None) -> dict[str, Any]:
    """A manifest as the operator writes it into the ConfigMap."""
    found: dict[str, Any] = yaml.safe_load(text)
    if namespace is not None:
        found["metadata"]["namespace"] = namespace
    return found


def packed(*manifests: Any) -> tuple[bytes, str]:
    """The content of the ConfigMap, and its hash."""
    text = json.dumps({"featuresets": manifests}, sort_keys=True, separators=(",", ":")).encode()
    return gzip.compress(text, mtime=0), hashlib.sha256(text).hexdigest()[:16]


class FakeKubernetes:
    """Answers what a pod asks; tests change what is there, and how it answers."""

    def __init__(self, folder: Path, tls: ssl.SSLContext | None = None) -> None:
        self.account = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.token = TOKEN
        (folder / "token").write_text(TOKEN)
        self.refuse: int | None = None
        """Status that every request is answered with."""
        self.requests: list[str] = []
        """`list` or `watch`, in order, of those that were not refused."""
        self.tokens: list[str] = []
        self._changed = threading.Condition()
        self._version = 1
        self._content: bytes | None = None
        self._raw: list[bytes] = []
        self._connections: set[socket.socket] = set()
        self._generation = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._tls = tls
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.cut()
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def server(self) -> ApiServer:
        return ApiServer("127.0.0.1", self.port, self.account, tls=self._tls is not None)

    def api(self) -> ConfigMapApi:
        return ConfigMapApi(self.server(), NAMESPACE, NAME)

    def write(self, *manifests: Any) -> str:
        """Replaces the configuration; its hash."""
        content, found = packed(*manifests)
        self.write_bytes(content)
        return found

    def write_bytes(self, content: bytes | None) -> None:
        """None deletes it."""
        with self._changed:
            self._content = content
            self._version += 1
            self._changed.notify_all()

    def send(self, line: dict[str, Any]) -> None:
        """Any line to the watches that are open."""
        with self._changed:
            self._raw.append(json.dumps(line).encode() + b"\n")
            self._changed.notify_all()

    def cut(self) -> None:
        """Ends every connection without a word."""
        with self._changed:
            connections, self._connections = self._connections, set()
            self._generation += 1
            self._changed.notify_all()
        for one in connections:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:  # it has ended by itself
                continue

    def items(self) -> list[dict[str, Any]]:
        return [] if self._content is None else [self.config_map()]

    def config_map(self) -> dict[str, Any]:
        data = {} if self._content is None else {KEY: base64.b64encode(self._content).decode()}
        return {"metadata": {"name": NAME, "resourceVersion": str(self._version)}, "binaryData": data}

    def lines(self, seen: int, sent: int, generation: int) -> Iterator[bytes]:
        """What a watch from a version sends until its connection is cut."""
        while True:
            with self._changed:
                while self._version <= seen and len(self._raw) == sent and self._generation == generation:
                    self._changed.wait(30)
                if self._generation != generation:
                    return
                if len(self._raw) > sent:
                    raw = self._raw[sent]
                    sent += 1
                else:
                    seen = self._version
                    kind = "DELETED" if self._content is None else "MODIFIED"
                    raw = json.dumps({"type": kind, "object": self.config_map()}).encode() + b"\n"
            yield raw


def _handler(fake: FakeKubernetes) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            query = parse_qs(url.query)
            assert url.path == f"/api/v1/namespaces/{NAMESPACE}/configmaps"
            assert query["fieldSelector"] == [f"metadata.name={NAME}"]
            fake._connections.add(self.connection)
            given = self.headers.get("Authorization", "").removeprefix("Bearer ")
            fake.tokens.append(given)
            refuse = 401 if given != fake.token else fake.refuse
            if refuse:
                self._json(refuse, {"kind": "Status", "code": refuse, "message": "it is refused"})
            elif "watch" in query:
                lines = fake.lines(int(query["resourceVersion"][0]), len(fake._raw), fake._generation)
                fake.requests.append("watch")
                self._watch(lines)
            else:
                fake.requests.append("list")
                listing = {"metadata": {"resourceVersion": str(fake._version)}, "items": fake.items()}
                self._json(200, listing)

        def _watch(self, lines: Iterator[bytes]) -> None:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for line in lines:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(line), line))
            self.close_connection = True

        def _json(self, status: int, content: Any) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:  # the connection was cut, which is what some tests are about
                self.close_connection = True

        def log_message(self, format: str, *arguments: Any) -> None:
            """Nothing."""

    return Handler


@contextmanager
def fake_kubernetes(
    folder: Path, *, started: bool = True, tls: ssl.SSLContext | None = None
) -> Iterator[FakeKubernetes]:
    """A running one, or one that listens and does not answer until `start`."""
    fake = FakeKubernetes(folder, tls)
    if started:
        fake.start()
    try:
        yield fake
    finally:
        fake.stop()


def mount(folder: Path, content: bytes) -> None:
    """Puts a file where the ConfigMap is mounted, in one step, as the kubelet does."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "new").write_bytes(content)
    (folder / "new").rename(folder / KEY)


def names(found: Sequence[Any]) -> list[str]:
    return [one.name for one in found]
