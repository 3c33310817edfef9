"""A thin client of the Kubernetes API: JSON over one aiohttp session, no models, no cache."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Protocol

import aiohttp

from freshet_operator import metrics
from freshet_operator.api.bucket import TokenBucket
from freshet_operator.api.errors import ApiError, from_answer
from freshet_operator.api.kinds import Kind, kind_of
from freshet_operator.model import Object
from freshet_operator.names import FIELD_MANAGER

_log = logging.getLogger(__name__)

_JSON = "application/json"
_APPLY = "application/apply-patch+yaml"  # JSON is YAML
_MERGE = "application/merge-patch+json"
_RELOGIN_SECONDS = 60.0  # a projected token is renewed long before it expires; reading a file is cheap
_PAGE = 50  # parsed, a page of Deployments takes a hundred times its share of what is kept, and memory never shrinks


class Connection(Protocol):
    """Where the API server is and how to prove who one is (kopf.ConnectionInfo is one)."""

    @property
    def server(self) -> str:
        """URL."""

    @property
    def proxy_url(self) -> str | None:
        """HTTP proxy."""

    def as_http_headers(self) -> dict[str, str]:
        """Authorization."""

    def as_ssl_context(self) -> ssl.SSLContext:
        """CA and client certificate."""


class Client:
    """Sends requests; every failure is an ApiError. Made inside a running event loop."""

    def __init__(
        self,
        login: Callable[[], Connection],
        *,
        timeout_seconds: float = 15.0,
        rate: float = 100.0,
        burst: int = 200,
    ) -> None:
        """`login` is called again every minute and after a 401, so it has to read token files anew."""
        self._login = login
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds, sock_connect=5)
        self._bucket = TokenBucket(rate, burst)
        self._connection = login()
        self._session = self._new_session()
        self._old: list[aiohttp.ClientSession] = []
        self._logged_in = time.monotonic()
        self.last_answer: float | None = None
        """Monotonic time of the last answer of any kind; None before the first."""

    async def close(self) -> None:
        """Ends all connections."""
        await asyncio.gather(*(session.close() for session in (*self._old, self._session)))

    async def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """The object as it is now; None if there is none."""
        try:
            return await self.request("GET", kind.path(namespace, name))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def list_all(
        self, kind: Kind, namespace: str | None = None, labels: str = "", fields: str = ""
    ) -> list[Object]:
        """All objects of a kind, in one namespace or (None) in all, as they are now."""
        return [item async for page in self.pages(kind, namespace, labels, fields) for item in page]

    async def pages(
        self, kind: Kind, namespace: str | None = None, labels: str = "", fields: str = ""
    ) -> AsyncIterator[list[Object]]:
        """The same by pages; all are of one moment."""
        params = {"limit": str(_PAGE)}
        if labels:
            params["labelSelector"] = labels
        if fields:
            params["fieldSelector"] = fields
        while True:
            answer = await self.request("GET", kind.path(namespace), params=params)
            items = answer.get("items") or []
            for item in items:  # the items of a list do not say what they are
                item["apiVersion"], item["kind"] = kind.api_version, kind.kind
            yield items
            token = (answer.get("metadata") or {}).get("continue")
            if not token:
                return
            params["continue"] = token

    async def apply(self, item: Object, subresource: str | None = None) -> Object:
        """Server-side apply of the whole intent; fields that others own meanwhile are taken over."""
        meta = item["metadata"]
        path = kind_of(item).path(meta["namespace"], meta["name"], subresource)
        params = {"fieldManager": FIELD_MANAGER, "force": "true"}
        return await self.request("PATCH", path, params=params, body=item, content_type=_APPLY)

    async def merge(self, kind: Kind, namespace: str, name: str, patch: Object) -> Object:
        """JSON merge patch."""
        params = {"fieldManager": FIELD_MANAGER}
        return await self.request("PATCH", kind.path(namespace, name), params=params, body=patch, content_type=_MERGE)

    async def create(self, item: Object) -> Object:
        """Makes a new object."""
        path = kind_of(item).path(item["metadata"]["namespace"])
        return await self.request("POST", path, params={"fieldManager": FIELD_MANAGER}, body=item)

    async def replace(self, item: Object) -> Object:
        """PUT: fails with 409 where the object has another resourceVersion by now."""
        meta = item["metadata"]
        path = kind_of(item).path(meta["namespace"], meta["name"])
        return await self.request("PUT", path, params={"fieldManager": FIELD_MANAGER}, body=item)

    async def delete(self, item: Object) -> None:
        """Deletes exactly this object (its uid), its own children later. Gone or replaced already: nothing to do."""
        meta = item["metadata"]
        body: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if meta.get("uid"):
            body["preconditions"] = {"uid": meta["uid"]}
        try:
            await self.request("DELETE", kind_of(item).path(meta["namespace"], meta["name"]), body=body)
        except ApiError as error:
            if error.status not in (404, 409):
                raise

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Object | None = None,
        content_type: str = _JSON,
    ) -> Object:
        """One request and its answer as JSON. Raises ApiError."""
        await self._bucket.take()
        await self._renew(_RELOGIN_SECONDS)
        try:
            return await self._send(method, path, params, body, content_type)
        except ApiError as error:
            if error.status != 401:
                raise
        await self._renew(0.0)
        return await self._send(method, path, params, body, content_type)

    async def _send(
        self, method: str, path: str, params: Mapping[str, str] | None, body: Object | None, content_type: str
    ) -> Object:
        headers = {"Accept": _JSON, "User-Agent": FIELD_MANAGER, **self._connection.as_http_headers()}
        data = None
        if body is not None:
            headers["Content-Type"] = content_type
            data = json.dumps(body, separators=(",", ":")).encode()
        code = "<error>"
        try:
            async with self._session.request(
                method, self._connection.server + path, params=params, data=data, headers=headers
            ) as response:
                code = str(response.status)
                raw = await response.read()
                retry_after = response.headers.get("Retry-After")
        except TimeoutError:
            raise ApiError(0, "Timeout", f"the API server did not answer {method} {path} in time") from None
        except aiohttp.ClientError as error:
            raise ApiError(0, "Unreachable", f"{method} {path}: {type(error).__name__}: {error}") from None
        finally:
            metrics.REST_REQUESTS.labels(code, method).inc()
        self.last_answer = time.monotonic()
        answer = _parsed(raw)
        if code >= "300":
            raise from_answer(int(code), answer, retry_after)
        if not isinstance(answer, dict):
            raise ApiError(0, "BadAnswer", f"{method} {path}: the answer is not a JSON object")
        return answer

    async def _renew(self, age: float) -> None:
        """Logs in again where the last time is more than `age` seconds ago."""
        if time.monotonic() - self._logged_in < age:
            return
        self._logged_in = time.monotonic()
        try:
            found = self._login()
        except Exception:
            _log.exception("cannot read the credentials of the API server again; going on with the old ones")
            return
        if found != self._connection:
            self._connection = found
            for session in self._old:
                await session.close()
            self._old, self._session = [self._session], self._new_session()  # the old one may be in use just now

    def _new_session(self) -> aiohttp.ClientSession:
        secure = self._connection.server.startswith("https")
        connector = aiohttp.TCPConnector(
            ssl=self._connection.as_ssl_context() if secure else False, limit=32, keepalive_timeout=60
        )
        return aiohttp.ClientSession(connector=connector, timeout=self._timeout, proxy=self._connection.proxy_url)


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw) if raw else {}
    except ValueError:
        return raw.decode("utf-8", "replace")
