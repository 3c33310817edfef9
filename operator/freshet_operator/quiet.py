"""What need not be planned again: a look that sees what the last one saw, after a plan that had nothing to do.

Plans are pure, so this changes nothing but the time they take; of hundreds of FeatureSets at rest that is most of it.
"""

from __future__ import annotations

from freshet_operator.model import Key, Observed, Plan
from freshet_operator.plan import IDLE_SECONDS
from freshet_operator.plan.scaling import TIMERS

LONGEST_SECONDS = 300.0
"""Planned anew after this time, whatever is seen."""


class Quiet:
    """Remembers a number for each key."""

    def __init__(self) -> None:
        self._known: dict[Key, tuple[int, float]] = {}

    def is_same(self, key: Key, seen: int, now: float) -> bool:
        """Whether nothing is to be done for it now either. `now`: monotonic seconds."""
        known = self._known.get(key)
        return known is not None and known[0] == seen and now - known[1] < LONGEST_SECONDS

    def planned(self, key: Key, seen: int, observed: Observed, plan: Plan, now: float) -> None:
        """A plan was made from what was seen. Only one that had nothing to do and waits for no time is remembered."""
        waits = any(name in plan.status.get("scaling", {}) for name in TIMERS)
        calm = all(one.is_calm for one in observed.work.values())
        done = not plan.writes and not plan.events and not plan.serving_changed
        same = plan.status == (observed.resource.get("status") or {})
        if done and same and calm and not waits and plan.requeue_after == IDLE_SECONDS:
            self._known[key] = (seen, now)
        else:
            self._known.pop(key, None)

    def forget(self, key: Key) -> None:
        """The FeatureSet is gone."""
        self._known.pop(key, None)


def fingerprint(observed: Observed) -> int:
    """Of all that a plan looks at; objects by their resourceVersion."""
    meta = observed.resource["metadata"]
    versions = tuple(
        (item["metadata"].get("uid"), item["metadata"].get("resourceVersion"))
        for item in (observed.resource, *observed.children, *observed.pods)
    )
    serving = observed.serving
    mine = serving.entries.get(f"{meta['namespace']}/{meta['name']}")
    return hash(
        (
            versions,
            observed.claims,
            (mine, serving.hash, serving.error, tuple(serving.pods.items())),
            observed.figures,
            observed.namespace_terminating,
            observed.unreadable,
            repr((observed.kafka, observed.work)),
        )
    )
