"""Finding a valid event by asking ingest: each refusal names the field that is missing or wrong."""

from __future__ import annotations

import json
from typing import Any

from freshet.smoke import events
from freshet.smoke.events import Plan
from freshet.smoke.http import Answer
from freshet.smoke.report import NotChecked, ProbeFailed
from freshet.smoke.state import Run

_TRIES = 60
_VALUES: tuple[object, ...] = ("smoke", 1, True, 100, 0, -1, 0.5)
"""Tried in turn for a field that ingest finds wrong."""
_MANIFEST = "give the FeatureSet's manifest with --manifest"


def plan(run: Run, now_ms: int) -> Plan:
    """Events that ingest accepts. The one that it accepts here is of an entity of its own.

    Raises ProbeFailed if ingest does not answer as it should, NotChecked if no valid event is found.
    """
    key = f"{run.key}-first"
    body: dict[str, Any] = {run.details()["entity"]["key"]: key, "event_id": key}
    timestamp = ""
    tried: dict[str, int] = {}
    for _ in range(_TRIES):
        answer = run.post(json.dumps(body).encode())
        found = answer.json()
        if answer.status == 202:
            if not timestamp or found.get("event_ids") != [key]:
                raise NotChecked(f"the event's time or id has a name that ingest does not tell; {_MANIFEST}")
            return events.learned(body, run.details()["entity"]["key"], timestamp, run.key, now_ms)
        if answer.status != 422:
            raise ProbeFailed(f"an event is not taken: {answer.said()}", advice(answer))
        reason, field = _complaint(found)
        if reason == "missing_timestamp":
            timestamp = field
            events.put(body, field, events.rfc3339(now_ms))
            continue
        step = tried[field] = tried.get(field, -1) + 1
        if not field or field == timestamp or step >= len(_VALUES):
            raise NotChecked(f"no valid event was found (the last refusal: {answer.said()}); {_MANIFEST}")
        events.put(body, field, _VALUES[step])
    raise NotChecked(f"no valid event was found in {_TRIES} tries; {_MANIFEST}")


def _complaint(found: object) -> tuple[str, str]:
    """Reason and field of the one event's refusal."""
    rejected = found.get("rejected") if isinstance(found, dict) else None
    one = rejected[0] if isinstance(rejected, list) and rejected else {}
    return str(one.get("reason", "")), str(one.get("field") or "")


def advice(answer: Answer) -> str:
    """What to do where good events are not taken."""
    if answer.status in (429, 503):
        return "ingest cannot reach Kafka or is overloaded: see its GET /ready, its log, and 10"
    if answer.status == 422:
        return "the manifest given is not the one that ingest has: wait until it has it, or give that one"
    if answer.status == 404:
        return "this is not ingest (check --ingest), or it does not have this FeatureSet yet: see its log"
    return "check --ingest; is there a proxy before it?"
