"""Conditions: their types and reasons, and how new verdicts are put beside what stood there before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from freshet_operator.model import Object
from freshet_operator.plan.times import time_text

TYPES = (
    "Ready",
    "Serving",
    "Progressing",
    "TopicsReady",
    "ProcessorReady",
    "BackfillComplete",
    "ServingConfigured",
    "Paused",
    "Degraded",
)
"""In the order in which people read them."""

PROBLEMS = frozenset(
    {
        "InvalidSpec",
        "DefinitionChanged",
        "KafkaUnavailable",
        "ResourceConflict",
        "PartitionMismatch",
        "WrongTimestampType",
        "RetentionTooShort",
        "TopicMissing",
        "NameTaken",
        "MissingSecret",
        "ContainerConfig",
        "ImagePull",
        "CrashLooping",
        "Unschedulable",
        "QuotaExceeded",
        "PodsRefused",
        "ProcessingStopped",
        "Stalled",
        "NameConflict",
        "ConfigTooLarge",
    }
)
"""Reasons that do not pass by waiting: somebody has to do something."""

WAITING = frozenset({"Creating", "WaitingForAck", "CatchingUp", "WaitingForTopics", "NoServingPods"})
"""Reasons that pass by themselves."""

LONGEST_MESSAGE = 1000


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a condition says, without its times."""

    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str = ""

    @property
    def is_true(self) -> bool:
        """Whether the status is True."""
        return self.status == "True"

    @property
    def is_problem(self) -> bool:
        """Whether somebody has to do something."""
        return not self.is_true and self.reason in PROBLEMS


def condition(status: Object, type: str) -> Object:
    """The condition of this type; empty if there is none."""
    found: Object = next((c for c in status.get("conditions") or () if c.get("type") == type), {})
    return found


def merged(before: Object, verdicts: Mapping[str, Verdict], generation: int, now_ms: int) -> list[Object]:
    """All conditions: those of `verdicts` anew, others as they stood.

    lastTransitionTime moves when the status of a condition changes, not when its reason or message does.
    """
    found = []
    for type in TYPES:
        old = condition(before, type)
        verdict = verdicts.get(type)
        if verdict is None:
            if old.get("reason"):  # else somebody else's
                found.append(old)
            continue
        same = old.get("status") == verdict.status and old.get("lastTransitionTime")
        found.append(
            {
                "type": type,
                "status": verdict.status,
                "reason": verdict.reason,
                "message": shortened(verdict.message),
                "lastTransitionTime": old["lastTransitionTime"] if same else time_text(now_ms),
                "observedGeneration": generation,
            }
        )
    return found


def shortened(message: str) -> str:
    """The message, or its beginning."""
    return message if len(message) <= LONGEST_MESSAGE else message[: LONGEST_MESSAGE - 1] + "…"
