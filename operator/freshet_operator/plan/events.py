"""Transitions worth an Event: each condition that turned bad or good, once."""

from __future__ import annotations

from freshet_operator.model import Event, Object
from freshet_operator.plan.conditions import PROBLEMS, condition

_OWN = ("TopicsReady", "ProcessorReady", "BackfillComplete", "ServingConfigured", "Serving")
_GOOD = {
    "TopicsReady": "TopicsReady",
    "ProcessorReady": "ProcessorsAvailable",
    "BackfillComplete": "CaughtUp",
    "Serving": "Serving",
    "Ready": "Ready",
}


def transitions(before: Object, conditions: list[Object]) -> tuple[Event, ...]:
    """Events for what differs from the status before."""
    found: list[Event] = []
    for new in conditions:
        old = condition(before, new["type"])
        if (old.get("status"), old.get("reason")) == (new["status"], new["reason"]):
            continue
        event = _event(old, new)
        if event is not None and event not in found:
            found.append(event)
    return tuple(found)


def _event(old: Object, new: Object) -> Event | None:
    type, status, reason = new["type"], new["status"], new["reason"]
    of_spec = type == "Ready" and reason in ("InvalidSpec", "DefinitionChanged")
    if status != "True" and reason in PROBLEMS and (type in _OWN or of_spec):
        return Event("Warning", reason, new["message"])
    if status == "True" and old.get("status") != "True" and type in _GOOD:
        return Event("Normal", _GOOD[type], new["message"])
    if type == "BackfillComplete" and reason == "Rebuilding":
        return Event("Warning", reason, new["message"])
    if type == "Paused" and (status == "True" or old.get("status") == "True"):
        return Event("Normal", reason if status == "True" else "Resumed", new["message"] or "no longer paused")
    return None
