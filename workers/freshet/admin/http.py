"""Administration over HTTP, on the port 8084: dead letters and erasures, for whoever has the token."""

from __future__ import annotations

import asyncio
import hmac
import logging
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal
from urllib.parse import unquote_to_bytes
from uuid import UUID

import psycopg
import uvicorn
from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError
from starlette.exceptions import HTTPException

from freshet.admin import erasure, letters
from freshet.admin.installation import Installation, Refused, Unavailable
from freshet.admin.judge import Verdict
from freshet.admin.letters import MOST, Filter
from freshet.admin.replay import Order, replay, resolve
from freshet.runtime.live.state import ConfigState
from freshet.runtime.web import Disconnected, Message, Receive, Send, body_part, uvicorn_config
from freshet.stores.postgres import HistoryDown, describe

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 64 << 10
BODY_SECONDS = 10.0
"""Until a body is complete: whoever is slower would keep others from one of the few connections."""
_MOST_CONNECTIONS = 16
"""Each request in progress holds a database connection."""

Status = Literal["open", "replaying", "replayed", "discarded"]


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise PydanticCustomError("nul", "has a NUL character, which PostgreSQL has in no text")
    return text


Name = Annotated[str, Field(min_length=1, max_length=512), AfterValidator(_without_nul)]


class Wanted(BaseModel):
    """Which dead letters."""

    model_config = ConfigDict(extra="forbid")

    reason: Annotated[list[Name], Field(max_length=20)] = []
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    topic: Name | None = None
    partition: Annotated[int, Field(ge=0, lt=1 << 31)] | None = None
    offset: Annotated[int, Field(ge=0, lt=1 << 63)] | None = None
    featureset: Name | None = None
    limit: Annotated[int, Field(ge=1, le=MOST)] = 100

    def filter(self, statuses: Sequence[str] = ()) -> Filter:
        """As the queries take it."""
        return Filter(
            tuple(self.reason),
            self.since,
            self.until,
            self.topic,
            self.partition,
            self.offset,
            self.featureset,
            tuple(statuses),
        )


class Listed(Wanted):
    """Which dead letters, of any status."""

    status: Annotated[list[Status], Field(max_length=4)] = []


class Replayed(Wanted):
    """What to replay: open letters that fit, oldest first."""

    dry_run: bool = False


def app_of(installation: Installation, token: str, config: Callable[[], ConfigState]) -> Any:
    """The ASGI app. `config` tells what configuration is in use: that needs no token."""
    app = FastAPI(title="Freshet administration", docs_url=None, redoc_url=None, openapi_url=None)
    app.router.redirect_slashes = False  # it would send clients wherever their Host header says

    @app.get("/config")
    def configuration() -> Any:
        return JSONResponse(_plain(config()))

    @app.get("/dead-letters")
    def listed(wanted: Annotated[Listed, Query()]) -> Any:
        with installation.history() as connection:
            found = letters.find(connection, wanted.filter(wanted.status), wanted.limit)
        return {"dead_letters": [letter.as_json() for letter in found]}

    @app.get("/dead-letters/stats")
    def counted(wanted: Annotated[Listed, Query()]) -> Any:
        with installation.history() as connection:
            return {"stats": [stat.as_json() for stat in letters.stats(connection, wanted.filter(wanted.status))]}

    @app.post("/dead-letters:replay")
    def replayed(order: Replayed) -> Any:
        reopened = 0 if order.dry_run else resolve(installation)
        verdicts: list[Verdict] = []
        replay(installation, Order(order.filter(), order.limit, order.dry_run), verdicts.extend)
        counts: dict[str, int] = {}
        for verdict in verdicts:
            counts[verdict.outcome.value] = counts.get(verdict.outcome.value, 0) + 1
        return {"counts": counts, "reopened": reopened, "results": [verdict.as_json() for verdict in verdicts]}

    @app.post("/dead-letters:discard")
    def discarded(wanted: Wanted) -> Any:
        with installation.history() as connection:
            return {"discarded": letters.discard(connection, wanted.filter(), wanted.limit)}

    @app.delete("/entities/{entity:path}", status_code=202)
    def erased(entity: str, topic: Annotated[list[Name] | None, Query(max_length=20)] = None) -> Any:
        return erasure.request(installation, entity, topic or ()).as_json()

    @app.get("/erasures/{request_id}")
    def receipt(request_id: UUID) -> Any:
        found = erasure.receipt(installation, request_id)
        if found is None:
            raise HTTPException(404, "there is no erasure of this id")
        return found.as_json()

    _answer_errors(app)
    return _Door(app, token)


def _plain(state: ConfigState) -> dict[str, Any]:
    return {"hash": state.hash, "featuresets": state.featuresets, "source": state.source, "error": state.error}


def _answer_errors(app: FastAPI) -> None:
    """Every error in one form: what it is and what to do."""

    async def framework(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        known = {404: "not_found", 405: "method_not_allowed"}
        message = f"{request.method} is not allowed here" if error.status_code == 405 else str(error.detail)
        headers = dict(error.headers or {})
        return _problem(error.status_code, known.get(error.status_code, "bad_request"), message, headers)

    async def invalid(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"][1:]) or "body"
        return _problem(422, "invalid", f"{place}: {first['msg']}")

    async def refused(_: Request, error: Exception) -> JSONResponse:
        return _problem(409, "refused", str(error))

    async def unavailable(_: Request, error: Exception) -> JSONResponse:
        return _problem(503, "unavailable", str(error), {"retry-after": "5"})

    async def database(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, psycopg.Error)
        return _problem(503, "unavailable", describe(error), {"retry-after": "5"})

    async def unexpected(_: Request, __: Exception) -> JSONResponse:
        return _problem(503, "unexpected", "an unexpected condition, which is logged: try again", {"retry-after": "5"})

    app.add_exception_handler(HTTPException, framework)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(Refused, refused)
    app.add_exception_handler(Unavailable, unavailable)
    app.add_exception_handler(HistoryDown, unavailable)
    app.add_exception_handler(psycopg.Error, database)
    app.add_exception_handler(Exception, unexpected)


class _Door:
    """Lets nobody in without the token, and no body that is too large, whatever it says of its length."""

    def __init__(self, app: Any, token: str) -> None:
        self._app = app
        self._expected = b"Bearer " + token.encode()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One request. Its body is read before the app sees it: none is large."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["path"] != "/config" and not self._knows(scope):
            answer = _problem(401, "unauthorized", _HOW, {"www-authenticate": "Bearer", "connection": "close"})
            await answer(scope, receive, send)
            return
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await _body(receive)
        except TimeoutError:
            message = f"the body did not come within {BODY_SECONDS:g} s"
            await _problem(408, "body_timeout", message, {"connection": "close"})(scope, receive, send)
            return
        except Disconnected:
            return
        wrong = _wrong(scope, body)
        if wrong is not None:
            await wrong(scope, receive, send)
            return
        given = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def again() -> Message:
            return next(given, None) or await receive()

        await self._app(scope, again, send)

    def _knows(self, scope: Message) -> bool:
        """Whether the token is right, in a time that does not tell how much of it is."""
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        return len(given) == 1 and hmac.compare_digest(given[0], self._expected)


def _wrong(scope: Message, body: bytes) -> JSONResponse | None:
    """The answer to what no route can do anything with."""
    if len(body) > MAX_BODY_BYTES:
        return _problem(413, "too_large", f"a body has at most {MAX_BODY_BYTES} bytes", {"connection": "close"})
    try:
        unquote_to_bytes(scope["raw_path"]).decode()
    except UnicodeDecodeError:  # the framework would put another character in its place, and another entity be erased
        return _problem(400, "bad_path", "the path is not percent-encoded UTF-8")
    return None


_HOW = "send the header Authorization: Bearer, with the token of FRESHET_ADMIN_TOKEN"


async def _body(receive: Receive) -> bytes:
    """The body, or its beginning if it is too long. Raises Disconnected."""
    body = b""
    while len(body) <= MAX_BODY_BYTES:
        part, more = await body_part(receive)
        body += part
        if not more:
            break
    return body


def _problem(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": {"code": code, "message": message}}, status, headers)


class AdminServer:
    """Serves the app from a thread of its own."""

    def __init__(self, app: Any, host: str, port: int) -> None:
        """Port 0: any free one. Raises OSError if the port is taken."""
        config = uvicorn_config(app, 5, 64, _MOST_CONNECTIONS)
        self._socket = _bound(host, port)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="admin", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._socket.getsockname()[1])

    def shutdown(self) -> None:
        """Ends after the requests in progress, or some seconds."""
        self._server.should_exit = True
        self._thread.join(10)
        self._socket.close()


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()  # from here on nobody is refused while the server's thread starts
    except OSError:
        listener.close()
        raise
    return listener
