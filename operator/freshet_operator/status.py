"""What a status says when a write was refused, and whether a status is worth a write."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import Any

from freshet_operator.apply import Done
from freshet_operator.model import Object
from freshet_operator.plan.scaling import TIMERS

FIGURES = ("lag", "freshness", "replicas")
FIGURES_SECONDS = 30.0
"""Figures alone are a reason to write this often at most."""
_LONGEST = 1000


def changed(old: Object, new: Object) -> bool:
    """Whether they differ at all."""
    return old != new


def only_figures_changed(old: Object, new: Object) -> bool:
    """Whether they differ in figures alone, or by a timer of the scaling that has begun.

    A timer that ends is told at once: one that was remembered wrongly would count what was not. One that begins later
    only waits longer, and lag that comes and goes is then not two writes at each look.
    """
    begun = {name for name in TIMERS if name not in (old.get("scaling") or {})}
    return _without(old) == _without(new, begun)


def with_failures(status: Object, before: Object, generation: int, done: Done, now_ms: int) -> Object:
    """The status with conditions for the writes that were refused for a reason that does not pass by itself."""
    found = status
    refused = [failed for failed in done.kafka_failures if not failed.transient]
    if refused:
        found = _with(found, before, generation, now_ms, "TopicsReady", "False", "KafkaRefused", refused[0].message)
    if done.failure is not None and not done.failure.transient:
        message = done.failure.message
        found = _with(found, before, generation, now_ms, "Degraded", "True", "WriteRefused", message)
        found = _with(found, before, generation, now_ms, "Ready", "False", "WriteRefused", message)
    if found is not status:
        bad = next(c for c in found["conditions"] if c["reason"] in ("WriteRefused", "KafkaRefused"))
        found = {**found, "reason": bad["reason"], "message": bad["message"]}
    return found


def _with(
    status: Object, before: Object, generation: int, now_ms: int, type: str, value: str, reason: str, message: str
) -> Object:
    """The status with this condition; the time of its last change is that of the status before."""
    old: Object = next((c for c in before.get("conditions") or () if c.get("type") == type), {})
    condition: dict[str, Any] = {
        "type": type,
        "status": value,
        "reason": reason,
        "message": message[:_LONGEST],
        "lastTransitionTime": old["lastTransitionTime"] if old.get("status") == value else _time(now_ms),
        "observedGeneration": generation,
    }
    others = list(status.get("conditions") or ())
    places = [i for i, c in enumerate(others) if c.get("type") == type]
    if places:
        others[places[0]] = condition
    else:
        others.append(condition)
    return {**status, "conditions": others}


def _without(status: Object, timers: Iterable[str] = ()) -> Object:
    kept = {name: value for name, value in status.items() if name not in FIGURES}
    if "scaling" in kept:
        kept["scaling"] = {name: value for name, value in kept["scaling"].items() if name not in timers}
    return kept


def _time(now_ms: int) -> str:
    return datetime.datetime.fromtimestamp(now_ms // 1000, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
