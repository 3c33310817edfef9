"""3: are both services ready, and do their routes answer as documented?"""

from __future__ import annotations

import json
from collections.abc import Iterator

from freshet.smoke.http import Answer, Client
from freshet.smoke.report import Check, failed, passed, skipped
from freshet.smoke.state import Run


def checks(run: Run) -> Iterator[Check]:
    """Ready, right for good requests, clear for bad ones."""
    for client in (run.ingest, run.serving):
        if client.url in run.down:
            yield skipped(client.name, f"{client.name} does not answer (see 1)")
            continue
        yield _ready(client)
        yield _unknown_route(client)
    if run.empty():
        yield skipped("routes", "they need a FeatureSet, and none is applied yet")
        return
    if run.ingest.url not in run.down:
        yield _is_ingest(run.ingest)
    run.need(run.serving)
    run.catalogue()
    yield passed("GET /featuresets", f"{len(run.catalogue())} served")
    yield from _reads(run)


def _ready(client: Client) -> Check:
    name = f"{client.name} GET /ready"
    answer = client.get("/ready")
    if answer.status == 200:
        return passed(name, "200")
    told = ""
    if answer.status == 503:
        found = answer.json()
        parts = found if isinstance(found, dict) else {}
        told = ", ".join(f"{key}: {value}" for key, value in parts.items() if key != "ready")[:200]
    advice = f"what is missing is in the sentence; if nothing is, check {client.option}"
    return failed(name, f"{answer.status}{': ' + told if told else ''}", advice)


def _unknown_route(client: Client) -> Check:
    name = f"{client.name} unknown route"
    answer = client.get("/freshet-smoke-no-such-route")
    return _expect(name, answer, 404, "not_found", client.option)


def _is_ingest(client: Client) -> Check:
    """An empty body is refused, and before it a request that does not choose one of several topics."""
    answer = client.post("/ingest", b"")
    code = "ambiguous_topic" if answer.error()[0] == "ambiguous_topic" else "empty"
    return _expect("POST /ingest without events", answer, 400, code, client.option)


def _reads(run: Run) -> Iterator[Check]:
    features = [feature["name"] for feature in run.details()["features"]]
    nobody = f"{run.key}-nobody"
    answer = run.read(nobody)
    if answer.status == 200 and set(answer.json().get("features", {})) == set(features):
        yield passed("GET /features/{entity}", f"{len(features)} defaults for an entity without events")
    else:
        advice = "503: wait until a processor has caught up (see 2); else check --serving and see serving's log"
        yield failed("GET /features/{entity}", f"{answer.said()}", advice)
    yield from _batch(run, nobody)
    unknown = run.serving.get(f"/features/{nobody}/freshet_smoke_no_such_feature?featureset={run.name()}")
    yield _expect("unknown feature", unknown, 404, "unknown_feature", "--serving")


def _batch(run: Run, key: str) -> Iterator[Check]:
    name = run.name()
    body = json.dumps({"entities": [key, f"{key}-2"], "featureset": name}).encode()
    answer = run.serving.post("/features:batch", body)
    rows = answer.json().get("results") if answer.status == 200 else None
    advice = "503: wait until a processor has caught up (see 2); else see serving's log"
    if isinstance(rows, list) and len(rows) == 2:
        yield passed("POST /features:batch", "2 entities, 2 rows")
    else:
        yield failed("POST /features:batch", answer.said(), advice)
    key_name = run.details()["entity"]["key"]
    body = json.dumps({"feature_service": name, "entities": {key_name: [key]}}).encode()
    answer = run.serving.post("/get-online-features", body)
    if answer.status == 200 and "results" in answer.json():
        yield passed("POST /get-online-features", "answers Feast's contract")
    else:
        yield failed("POST /get-online-features", f"{answer.status}", advice)


def _expect(name: str, answer: Answer, status: int, code: str, option: str) -> Check:
    given = (answer.status, answer.error()[0])
    if given == (status, code):
        return passed(name, f"{status} {code}")
    sentence = f"must be {status} {code}, got {given[0]} {given[1]}".rstrip()
    return failed(name, sentence, f"another service or a proxy answers there, or another version: check {option}")
