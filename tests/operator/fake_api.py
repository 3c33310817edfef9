"""A small API server in memory: enough of Kubernetes' manners for the client, the lease and the readers."""

from __future__ import annotations

import itertools
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from freshet_operator.api.client import Client


@dataclass(frozen=True)
class Connection:
    """What kopf.ConnectionInfo is to the client."""

    server: str
    token: str = "one"
    proxy_url: str | None = None

    def as_http_headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def as_ssl_context(self) -> ssl.SSLContext:
        raise AssertionError("http needs none")


@dataclass
class FakeApi:
    """Objects by path; `answers` are given first, one for each request."""

    objects: dict[str, Any] = field(default_factory=dict)
    answers: list[tuple[int, Any, dict[str, str]]] = field(default_factory=list)
    requests: list[tuple[str, str, Any]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    server: str = ""
    _versions: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def written(self, path: str) -> None:
        """Somebody else has changed the object: what was read before is out of date."""
        self.objects[path]["metadata"]["resourceVersion"] = str(next(self._versions))

    async def handle(self, request: web.Request) -> web.Response:
        raw = await request.read()
        body = json.loads(raw) if raw else None
        self.requests.append((request.method, request.path_qs, body))
        self.tokens.append(request.headers["Authorization"])
        if self.answers:
            status, answer, headers = self.answers.pop(0)
            return web.json_response(answer, status=status, headers=headers)
        return self._store(request.method, request.path, body)

    def _store(self, method: str, path: str, body: Any) -> web.Response:
        if method == "GET":
            return _found(self.objects.get(path))
        if method == "DELETE":
            return _found(self.objects.pop(path, None))
        if method == "POST":
            path = f"{path}/{body['metadata']['name']}"
            if path in self.objects:
                return _refused(409, "AlreadyExists")
        old = self.objects.get(path)
        if method == "PUT" and (old is None or body["metadata"].get("resourceVersion") != _version(old)):
            return _refused(409, "Conflict")
        body["metadata"]["resourceVersion"] = str(next(self._versions))
        self.objects[path] = body
        return web.json_response(body)


@asynccontextmanager
async def fake_api() -> AsyncIterator[FakeApi]:
    """One that listens."""
    api = FakeApi()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", api.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    api.server = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield api
    finally:
        await runner.cleanup()


@asynccontextmanager
async def client_of(api: FakeApi, **options: Any) -> AsyncIterator[Client]:
    """A client of it that is closed in the end."""
    client = Client(lambda: Connection(api.server), **options)
    try:
        yield client
    finally:
        await client.close()


def _version(item: Any) -> str:
    return str(item["metadata"].get("resourceVersion"))


def _found(item: Any) -> web.Response:
    return _refused(404, "NotFound") if item is None else web.json_response(item)


def _refused(status: int, reason: str) -> web.Response:
    return web.json_response({"kind": "Status", "reason": reason, "message": reason}, status=status)
