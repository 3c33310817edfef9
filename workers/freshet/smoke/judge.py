"""Comparing served values with the events that were sent: exactly where the manifest is known, else by counts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from freshet.smoke import expect
from freshet.smoke.events import Event, Plan
from freshet.spec.definition import Aggregate, AggregateFeature, Definition


@dataclass(slots=True)
class Verdict:
    """Of one look at the served values."""

    problems: list[str] = field(default_factory=list)
    """What is not as it must be."""
    compared: int = 0
    unseen: bool = False
    """The values are those of an entity without events."""
    twice: bool = False
    """They are those of counting twice the event that was sent twice."""
    unsure: str = ""
    """Why nothing can be said of them."""

    @property
    def right(self) -> bool:
        """Whether every value that was compared is as it must be."""
        return self.compared > 0 and not (self.problems or self.unsure)


class Judge(Protocol):
    """Looks at the `features` of an answer with bounds."""

    left_out: str
    """What is not compared, for the sentence."""

    def look(self, served: Mapping[str, Any]) -> Verdict:
        """Compares."""


class Known:
    """With the manifest: every aggregate that can be worked out here."""

    def __init__(self, definition: Definition, plan: Plan) -> None:
        once, twice = list(plan.events), [plan.events[0], *plan.events]
        self._right, self._wrong = (once, twice) if plan.counts_once else (twice, once)
        self._deduplicates = bool(plan.counts_once)
        self._features = [f for f in definition.features if isinstance(f, AggregateFeature) and _computable(f, once)]
        rest = len(definition.features) - len(self._features)
        self.left_out = f"; {rest} not compared (expressions, trend, ewma, percentile, last_n)" if rest else ""

    def look(self, served: Mapping[str, Any]) -> Verdict:
        """Compares at the read time and the window bounds that the answer gives."""
        verdict = Verdict(problems=self._problems(served, self._right), compared=len(self._features))
        if not self._features:
            verdict.unsure = "no feature can be worked out without the service itself"
        elif verdict.problems:
            verdict.unseen = not self._problems(served, [])
            verdict.twice = self._deduplicates and not self._problems(served, self._wrong)
        return verdict

    def _problems(self, served: Mapping[str, Any], events: Sequence[Event]) -> list[str]:
        found = []
        for feature in self._features:
            given = served.get(feature.name)
            if not isinstance(given, dict):
                found.append(f"{feature.name} is not in the answer")
                continue
            wanted = expect.expected(feature, events, _span(given), _ms(given["computed_at"]))
            if not expect.same(given.get("value"), wanted):
                found.append(f"{feature.name} is {given.get('value')}, must be {wanted}")
        return found


class Guessed:
    """Without the manifest: filters are not known, but counts without a filter must be the number of events."""

    left_out = "; sums, filters and bounds are compared with --manifest FILE"

    def __init__(self, features: Sequence[Mapping[str, Any]], plan: Plan) -> None:
        self._events = plan.events
        self._counts = [str(f["name"]) for f in features if f.get("aggregate") == Aggregate.COUNT]
        self._since = [str(f["name"]) for f in features if f.get("aggregate") == Aggregate.TIME_SINCE_LAST]

    def look(self, served: Mapping[str, Any]) -> Verdict:
        """At least one count must be complete, and none may be beyond."""
        found = {name: served[name] for name in self._counts if isinstance(served.get(name), dict)}
        if not found:
            return Verdict(unsure="this FeatureSet has no count")
        pairs = {name: (given.get("value"), self._inside(given)) for name, given in found.items()}
        beyond = [name for name, (value, n) in pairs.items() if not isinstance(value, int | float) or value > n]
        whole = [name for name, (value, n) in pairs.items() if value == n > 0]
        verdict = Verdict(compared=len(whole))
        if beyond:
            verdict.twice = all(pairs[name][0] == pairs[name][1] + 1 for name in beyond)
            if verdict.twice:
                verdict.unsure = "an event sent twice counts twice, which is right only with deduplicate: 0s"
            else:
                verdict.problems = [
                    f"{name} is {pairs[name][0]}, at most {pairs[name][1]} were sent" for name in beyond
                ]
        elif not whole:
            verdict.unseen = all(value == 0 for value, _ in pairs.values()) and not self._is_known(served)
            verdict.unsure = "" if verdict.unseen else "no count holds all of them (each may have a filter)"
        return verdict

    def _inside(self, given: Mapping[str, Any]) -> int:
        low, high = _span(given)
        return sum(low <= event.t_ms < high for event in self._events)

    def _is_known(self, served: Mapping[str, Any]) -> bool:
        return any(isinstance(served.get(name), dict) and served[name].get("value") is not None for name in self._since)


def _computable(feature: AggregateFeature, events: Sequence[Event]) -> bool:
    try:
        expect.expected(feature, events, (-math.inf, math.inf), events[-1].t_ms + 1)
    except expect.CannotTell:
        return False
    return True


def _span(given: Mapping[str, Any]) -> tuple[float, float]:
    window = given.get("window")
    if not isinstance(window, dict):
        return -math.inf, math.inf
    return _ms(window["start"]), _ms(window["end"])


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)
