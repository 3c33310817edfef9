"""The conditions, phase and reason that follow from the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from freshet_operator.plan.conditions import WAITING, Verdict

PARTS = ("TopicsReady", "ProcessorReady", "BackfillComplete", "ServingConfigured", "Serving")
"""What has to be true for Ready; the first that is not gives the reason, problems before what passes by itself."""

_STAGES = (("TopicsReady", "Pending"), ("ProcessorReady", "Provisioning"), ("BackfillComplete", "CatchingUp"))

SUSPENDED = Verdict("False", "Suspended", "spec.suspend is true: no processor runs; what was computed is still served")
UNPAUSED = Verdict("False", "Running", "")
PAUSED = Verdict("True", "UserRequested", "the annotation freshet.dev/paused is set: nothing is changed until it goes")


@dataclass(frozen=True, slots=True)
class Facts:
    """What the summary looks at beside the parts."""

    problem: Verdict | None
    """Of the spec."""
    paused: bool
    suspended: bool
    served: bool
    """A version has been served before."""
    rolling: bool
    """The Deployment is on its way to what was asked of it."""
    version: str


@dataclass(frozen=True, slots=True)
class Summary:
    """The rest of a status."""

    verdicts: dict[str, Verdict]
    phase: str
    reason: str
    message: str


def summarise(parts: Mapping[str, Verdict], facts: Facts) -> Summary:
    """Ready, Progressing, Paused, Degraded, phase and the sentence for people."""
    worst = _worst(parts, facts)
    ready = Verdict("True", "AllPartsReady", f"version {facts.version} is served") if worst is None else worst
    if worst is not None:
        ready = Verdict("False", worst.reason, worst.message)
    paused = PAUSED if facts.paused else UNPAUSED
    if facts.suspended and not facts.paused:
        paused = Verdict("True", "Suspended", SUSPENDED.message)
    verdicts = {
        "Ready": ready,
        "Progressing": _progressing(parts, facts, worst),
        **parts,
        "Paused": paused,
        "Degraded": _degraded(facts, worst),
    }
    reason, message = ("", ready.message) if worst is None else (worst.reason, worst.message)
    if worst is None and facts.paused:
        reason, message = PAUSED.reason, PAUSED.message
    return Summary(verdicts, _phase(parts, facts, worst), reason, message)


def _worst(parts: Mapping[str, Verdict], facts: Facts) -> Verdict | None:
    if facts.problem is not None:
        return facts.problem
    bad = [parts[name] for name in PARTS if name in parts and not parts[name].is_true]
    if facts.served and parts["Serving"].is_true:
        # A newer configuration reaches the pods in seconds; until then they answer by the one before.
        bad = [one for one in bad if one.reason != "WaitingForAck"]
    return next((one for one in bad if one.is_problem), bad[0] if bad else None)


def _progressing(parts: Mapping[str, Verdict], facts: Facts, worst: Verdict | None) -> Verdict:
    if facts.paused:
        return Verdict("False", "Paused", "paused by annotation")
    if worst is not None and worst.is_problem:
        return Verdict("False", "Blocked", worst.message)
    if facts.suspended:
        return Verdict("False", "Suspended", "spec.suspend is true")
    steps = (
        ("TopicsReady", "CreatingTopics"),
        ("ProcessorReady", "StartingProcessors"),
        ("BackfillComplete", "CatchingUp"),
        ("ServingConfigured", "WaitingForAck"),
        ("Serving", "WaitingForAck"),
    )
    for name, reason in steps:
        if name in parts and not parts[name].is_true:
            return Verdict("True", reason, parts[name].message)
        if name == "ProcessorReady" and facts.rolling:
            return Verdict("True", "RollingOut", "processors are being added, removed or replaced")
    return Verdict("False", "Idle", "everything is as it was asked for")


def _degraded(facts: Facts, worst: Verdict | None) -> Verdict:
    if worst is None or not facts.served or worst.reason in WAITING or worst.reason == "Suspended":
        return Verdict("False", "AsExpected", "")
    return Verdict("True", worst.reason, worst.message)


def _phase(parts: Mapping[str, Verdict], facts: Facts, worst: Verdict | None) -> str:
    if facts.problem is not None and facts.problem.reason == "InvalidSpec":
        return "Invalid"
    if facts.paused:
        return "Paused"
    if worst is None:
        return "Serving"
    if worst.reason == "Suspended":
        return "Suspended"
    if _degraded(facts, worst).is_true:
        return "Degraded"
    for name, phase in _STAGES:
        if name in parts and not parts[name].is_true:
            return phase
    return "Provisioning"
