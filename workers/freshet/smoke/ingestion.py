"""4: does ingest take what is right, refuse what is wrong, and say which?"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

from freshet.smoke import events, learn
from freshet.smoke.events import Event, Plan
from freshet.smoke.http import Answer
from freshet.smoke.report import Check, ProbeFailed, failed, passed
from freshet.smoke.state import Run, Sent

_LINES = "application/x-ndjson"


def checks(run: Run) -> Iterator[Check]:
    """Sends the events that the next category looks for."""
    run.need(run.ingest)
    plan = _plan(run)
    first, rest = plan.events[0], plan.events[1:]
    yield _taken("one event", run.post(first.json()), [first])
    yield _taken("the same event again", run.post(first.json()), [first], "; whether it counts once is seen in 5")
    many = rest[: len(rest) // 2]
    yield _taken("an array", run.post(_array(many)), many)
    yield _mixed(run, rest[len(many) :])
    run.sent = Sent(plan, time.monotonic())
    yield _refusals(run, first, plan.keys)


def _plan(run: Run) -> Plan:
    """Events as the manifest says; without it, as ingest says when asked."""
    now_ms = time.time_ns() // 1_000_000
    found, beside = run.definition(), run.beside()
    if found is not None:
        return events.plan(found.definition, run.key, now_ms, [one.definition for one in beside])
    return learn.plan(run, now_ms)


def _array(many: tuple[Event, ...]) -> bytes:
    return json.dumps([event.body for event in many]).encode()


def _taken(name: str, answer: Answer, sent: list[Event] | tuple[Event, ...], more: str = "") -> Check:
    """Raises ProbeFailed: what follows would be about events that are not there."""
    found = _answer(answer)
    if answer.status == 202 and found.get("accepted") == len(sent):
        return passed(name, f"202, {len(sent)} accepted{more}")
    raise ProbeFailed(f"{name} is not taken: {_reason(answer, found)}", learn.advice(answer))


def _mixed(run: Run, good: tuple[Event, ...]) -> Check:
    """The bad one stands second: what is behind it must be taken too."""
    name = "one a line, one of them broken"
    lines = [event.json() for event in good]
    lines.insert(1, b"{broken")
    answer = run.post(b"\n".join(lines), _LINES)
    found = _answer(answer)
    rejected = [(one.get("index"), one.get("reason")) for one in found.get("rejected", [])]
    if (answer.status, found.get("accepted"), rejected) == (202, len(good), [(1, "not_json")]):
        return passed(name, f"202, {len(good)} accepted, the broken one named by its place")
    raise ProbeFailed(f"{name}: {_reason(answer, found)}, rejected {rejected[:5]}", learn.advice(answer))


def _refusals(run: Run, good: Event, keys: Sequence[str]) -> Check:
    """Each of these must be refused, for its own reason."""
    timestamp = next(name for name, value in good.body.items() if value == events.rfc3339(good.t_ms))
    without_time = {name: value for name, value in good.body.items() if name != timestamp}
    cases: list[tuple[str, bytes, int, str]] = [
        ("not JSON", b"{broken", 400, "not_json"),
        ("an empty array", b"[]", 400, "empty"),
        ("no key", _json(good.body | dict.fromkeys(keys)), 422, "missing_key"),
        ("an empty key", _json(good.body | dict.fromkeys(keys, "")), 422, "bad_key"),
        ("no time", _json(without_time), 422, "missing_timestamp"),
        ("a time without zone", _json({**good.body, timestamp: "2026-01-05T10:30:00"}), 422, "bad_timestamp"),
        ("a time far ahead", _json({**good.body, timestamp: "2099-01-05T10:30:00Z"}), 422, "future"),
    ]
    wrong = []
    for name, body, status, code in cases:
        answer = run.post(body)
        if (answer.status, answer.error()[0]) != (status, code):
            wrong.append(f"{name}: must be {status} {code}, got {answer.status} {answer.error()[0]}".rstrip())
    if wrong:
        return failed("refusals", "; ".join(wrong), "another version of ingest, or a proxy that changes answers")
    return passed("refusals", f"{len(cases)} kinds of bad events, each refused with its reason")


def _json(body: dict[str, Any]) -> bytes:
    return json.dumps(body).encode()


def _answer(answer: Answer) -> dict[str, Any]:
    found = answer.json()
    return found if isinstance(found, dict) else {}


def _reason(answer: Answer, found: dict[str, Any]) -> str:
    return f"{answer.said()}, accepted {found.get('accepted', 0)}"
