"""1: does every service answer?"""

from __future__ import annotations

import json
from collections.abc import Iterator

from freshet.smoke.http import Client
from freshet.smoke.options import METRICS_URL
from freshet.smoke.report import Check, ProbeFailed, failed, passed, skipped
from freshet.smoke.state import Run


def checks(run: Run) -> Iterator[Check]:
    """GET /health of each. One that does not answer is left alone by all that follows."""
    for client in (run.ingest, run.serving):
        yield _check(run, client)
    for client in run.metrics:
        if run.options.metrics:
            yield _check(run, client)
            continue
        found = _check(run, client)
        if client.url not in run.down:
            yield found
        else:
            sentence = f"--metrics is not given and nothing answers at {METRICS_URL}"
            yield skipped("metrics port", f"{sentence}; processors have no other port")


def _check(run: Run, client: Client) -> Check:
    name = client.name.removeprefix("the ")
    try:
        answer = client.get("/health")
    except ProbeFailed as error:
        run.down.add(client.url)
        return failed(name, str(error), error.advice)
    if answer.status == 200:
        return passed(name, f"{client.url}/health answers 200")
    dead = _not_running(answer.body)
    if dead:
        return failed(name, f"not running: {dead}", "see the logs that freshet dev names; it restarts what has died")
    sentence = f"{answer.url} answers {answer.said()}"
    return failed(name, sentence, f"this is not {client.name} or it is broken: check {client.option}, see its log")


def _not_running(body: bytes) -> str:
    """Of the common page of `freshet dev`."""
    try:
        running = json.loads(body)["running"]
        return ", ".join(name for name, alive in running.items() if not alive)
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""
