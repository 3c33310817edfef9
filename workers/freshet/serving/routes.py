"""The routes that are called seldom: a FastAPI app."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from freshet.runtime import metrics
from freshet.serving import describe
from freshet.serving.current import Current
from freshet.serving.problems import Problem, invalid, unexpected

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]
Ready = Callable[[], Awaitable[tuple[bool, dict[str, Any]]]]

GET = ["GET", "HEAD"]


def make_app(current: Current, ready: Ready, lifespan: Lifespan) -> FastAPI:
    """`ready` says whether requests can be answered, with details."""
    app = FastAPI(title="Freshet serving", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.router.redirect_slashes = False
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(HTTPException, _framework)
    app.add_exception_handler(Exception, _unexpected)
    _add_catalogue(app, current)
    _add_health(app, ready)
    return app


def _add_catalogue(app: FastAPI, current: Current) -> None:
    @app.api_route("/featuresets", methods=GET)
    async def featuresets() -> Response:
        return _json(msgspec.json.encode(describe.listing(current.snapshot.catalogue)))

    @app.api_route("/featuresets/{name}", methods=GET)
    async def featureset(name: str) -> Response:
        return _json(msgspec.json.encode(describe.details(current.snapshot.catalogue.find(name))))


def _add_health(app: FastAPI, ready: Ready) -> None:
    @app.api_route("/health", methods=GET)
    async def health() -> Response:
        return _json(b'{"status":"ok"}')

    @app.api_route("/ready", methods=GET)
    async def readiness() -> Response:
        is_ready, details = await ready()
        return _json(msgspec.json.encode({"ready": is_ready, **details}), 200 if is_ready else 503)

    @app.api_route("/metrics", methods=GET)
    async def exposition(request: Request) -> Response:
        body, content_type = metrics.exposition(request.headers.get("accept", ""))
        return Response(body, headers={"content-type": content_type})


def _json(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(body, status, headers, media_type="application/json")


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return _json(error.body(), error.status, error.headers())


async def _framework(request: Request, error: Exception) -> Response:
    """What the router itself refuses, in our form."""
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        found = Problem(404, "not_found", "no such route; GET /featuresets tells what is served")
    elif error.status_code == 405:
        allow = next((value for name, value in (error.headers or {}).items() if name.lower() == "allow"), "")
        found = Problem(405, "method_not_allowed", f"{request.method} is not allowed here; {allow} is", allow=allow)
    else:
        found = invalid("bad_request", str(error.detail))
    return await _problem(request, found)


async def _unexpected(request: Request, error: Exception) -> Response:
    return await _problem(request, unexpected())
