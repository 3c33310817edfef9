"""The routes of ingest that are called seldom, and the description of POST /ingest for people and tools."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from freshet.ingest.problems import Problem, unavailable
from freshet.runtime import metrics

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]

Handler = TypeVar("Handler", bound=Callable[..., Any])

_DESCRIPTION = """\
One event (a JSON object), a JSON array of events, or one event a line. At most 10 MiB and 10,000 events a request,
1 MiB an event. `received_at` and a missing event id are added; all else stays as it was sent.

202: Kafka has acknowledged every event that is not listed in `rejected`. 400, 413, 422: no event was taken, for the
reasons in `rejected`. 429 and 503: send the same request again after `Retry-After` seconds.
"""
_ANSWER = {
    "type": "object",
    "properties": {
        "accepted": {"type": "integer", "description": "How many events Kafka has acknowledged."},
        "rejected": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "index": {"type": "integer", "description": "Position of the event in the request, from 0."},
                    "reason": {"type": "string"},
                    "message": {"type": "string"},
                    "field": {"type": "string"},
                },
            },
        },
        "event_ids": {
            "type": "array",
            "items": {"type": "string", "nullable": True},
            "description": "One an event: its id, sent or added; null if the event was rejected.",
        },
        "error": {"type": "object", "properties": {"code": {"type": "string"}, "message": {"type": "string"}}},
    },
}


def make_app(ready: Callable[[], tuple[bool, dict[str, Any]]], lifespan: Lifespan) -> FastAPI:
    """`ready` says whether events can be taken, with details."""
    app = FastAPI(title="Freshet ingest", lifespan=lifespan, redoc_url=None)
    app.router.redirect_slashes = False
    app.add_exception_handler(HTTPException, _framework)
    app.add_exception_handler(Exception, _unexpected)

    @_get(app, "/health", "Whether the process lives")
    async def health() -> Response:
        return _json({"status": "ok"})

    @_get(app, "/ready", "Whether events can be taken; names what is missing")
    async def readiness() -> Response:
        good, details = ready()
        return _json({"ready": good, **details}, 200 if good else 503)

    @_get(app, "/metrics", "Prometheus metrics of this process")
    async def exposition(request: Request) -> Response:
        body, content_type = metrics.exposition(request.headers.get("accept", ""))
        return Response(body, headers={"content-type": content_type})

    @app.post("/ingest", status_code=202, summary="Take events", description=_DESCRIPTION, openapi_extra=_openapi())
    async def ingest() -> Response:
        raise AssertionError("this route is answered in front of the app")

    return app


def _get(app: FastAPI, path: str, summary: str) -> Callable[[Handler], Handler]:
    """Answers GET, and HEAD without a second entry in the description."""

    def add(handler: Handler) -> Handler:
        app.get(path, summary=summary)(handler)
        return app.head(path, include_in_schema=False)(handler)

    return add


def _openapi() -> dict[str, Any]:
    event = {"type": "object", "additionalProperties": True}
    answers = {"202": "Taken", "400": "Not readable", "413": "Too large", "422": "No event is valid"}
    return {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"oneOf": [event, {"type": "array", "items": event}]}},
                "application/x-ndjson": {"schema": {"type": "string"}},
            },
        },
        "parameters": [
            {"name": name, "in": "query", "required": False, "schema": {"type": "string"}}
            for name in ("topic", "featureset", "entity")
        ],
        "responses": {
            status: {"description": text, "content": {"application/json": {"schema": _ANSWER}}}
            for status, text in answers.items()
        },
    }


def _json(content: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(json.dumps(content), status, headers, media_type="application/json")


async def _framework(request: Request, error: Exception) -> Response:
    """What the router itself refuses, in our form."""
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        problem = Problem(404, "not_found", "there is no such route; events go to POST /ingest")
    elif error.status_code == 405:
        problem = Problem(405, "method_not_allowed", f"{request.method} is not allowed here")
    else:
        problem = Problem(error.status_code, "bad_request", str(error.detail))
    return Response(problem.body(), problem.status, error.headers, media_type="application/json")


async def _unexpected(request: Request, error: Exception) -> Response:
    problem = unavailable("unexpected", "the request met an unexpected condition, which is logged: try again")
    return Response(problem.body(), problem.status, {"retry-after": "2"}, media_type="application/json")
