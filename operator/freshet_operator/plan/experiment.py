"""Experiments are checked and not run by this version."""

from __future__ import annotations

from freshet.spec.experiment import NOT_RUN, experiment_of
from freshet.spec.problems import ManifestError
from freshet_operator.model import Event, Object, Plan
from freshet_operator.plan.conditions import Verdict, condition, merged, shortened

_SECONDS = 600.0


def experiment_plan(resource: Object, now_ms: int) -> Plan:
    """Nothing but a status: Invalid with every problem, or NotImplemented."""
    before = resource.get("status") or {}
    generation = int(resource["metadata"].get("generation", 0))
    try:
        experiment_of(resource)
        verdict, phase = Verdict("False", "NotImplemented", f"the experiment {NOT_RUN}"), "NotImplemented"
    except ManifestError as error:
        verdict = Verdict("False", "InvalidSpec", f"the spec cannot be used: {'; '.join(error.lines)}")
        phase = "Invalid"
    status = {
        "observedGeneration": generation,
        "phase": phase,
        "reason": verdict.reason,
        "message": shortened(verdict.message),
        "conditions": merged(before, {"Ready": verdict}, generation, now_ms),
    }
    events = () if _same(before, verdict) else (Event("Warning", verdict.reason, shortened(verdict.message)),)
    return Plan((), status, events, _SECONDS)


def _same(before: Object, verdict: Verdict) -> bool:
    return condition(before, "Ready").get("reason") == verdict.reason
