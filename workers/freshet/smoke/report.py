"""What a smoke run found: checks in categories, and what they mean together."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from freshet.runtime.secrets import without_logins


class Status(StrEnum):
    """Outcome of a check."""

    PASSED = "passed"
    FAILED = "failed"
    ABSENT = "absent"
    """What would be checked does not exist in this version or deployment: neither good nor bad."""
    SKIPPED = "skipped"
    """Not looked at: an option was not given, or something it needs has failed already."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    status: Status
    sentence: str
    """What was seen. Without logins of URLs, whoever wrote it."""
    advice: str = ""
    """What to do; every failure has one."""
    seconds: float = 0.0


def passed(name: str, sentence: str) -> Check:
    """It is as it should be."""
    return Check(name, Status.PASSED, without_logins(sentence))


def failed(name: str, sentence: str, advice: str) -> Check:
    """It is not, and this is what to do."""
    return Check(name, Status.FAILED, without_logins(sentence), without_logins(advice))


def absent(name: str, sentence: str) -> Check:
    """There is no such thing here."""
    return Check(name, Status.ABSENT, without_logins(sentence))


def skipped(name: str, sentence: str) -> Check:
    """It was not looked at, for this reason."""
    return Check(name, Status.SKIPPED, without_logins(sentence))


class ProbeFailed(Exception):
    """Something that a check needs did not answer, or not as it must: the check has failed."""

    def __init__(self, sentence: str, advice: str) -> None:
        super().__init__(without_logins(sentence))
        self.advice = advice


class NotChecked(Exception):
    """There is nothing to look at, for a reason that is not this check's failure."""


@dataclass(slots=True)
class Category:
    """One of the twelve."""

    number: int
    name: str
    checks: list[Check] = field(default_factory=list)

    @property
    def status(self) -> Status:
        """Failed if one check has, else passed if one has, else absent if one is."""
        found = {check.status for check in self.checks}
        order = (Status.FAILED, Status.PASSED, Status.ABSENT)
        return next((status for status in order if status in found), Status.SKIPPED)

    @property
    def seconds(self) -> float:
        """Of all its checks."""
        return sum(check.seconds for check in self.checks)


@dataclass(slots=True)
class Report:
    """A whole run."""

    run: str
    """Key of the synthetic entity."""
    featureset: str | None
    """Which one was sent events and read."""
    categories: list[Category]
    seconds: float

    @property
    def good(self) -> bool:
        """Whether nothing failed; what is absent or skipped has not."""
        return all(category.status is not Status.FAILED for category in self.categories)

    def counts(self) -> dict[str, int]:
        """How many checks have each status."""
        statuses = [check.status for category in self.categories for check in category.checks]
        return {status.value: statuses.count(status) for status in Status}

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "passed": self.good,
            "run": self.run,
            "featureset": self.featureset,
            "seconds": round(self.seconds, 3),
            "counts": self.counts(),
            "categories": [
                {
                    "number": category.number,
                    "name": category.name,
                    "status": category.status.value,
                    "seconds": round(category.seconds, 3),
                    "checks": [_check(check) for check in category.checks],
                }
                for category in self.categories
            ],
        }


def _check(check: Check) -> dict[str, Any]:
    found = {"name": check.name, "status": check.status.value, "seconds": round(check.seconds, 3)}
    return {**found, "sentence": check.sentence, **({"advice": check.advice} if check.advice else {})}
