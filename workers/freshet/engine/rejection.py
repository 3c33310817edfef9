"""Why an event cannot be counted: the one list of reasons that ingest, dead letters and metrics share."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Value of the metric label `reason`, of the header `freshet-reason` and of `reason` in ingest's answers."""

    NOT_JSON = "not_json"
    WRONG_TYPE = "wrong_type"
    MISSING_FIELD = "missing_field"
    MISSING_KEY = "missing_key"
    BAD_KEY = "bad_key"
    """Empty, too long, with NUL bytes or unpaired surrogates, or neither text nor whole number."""
    MISSING_TIMESTAMP = "missing_timestamp"
    BAD_TIMESTAMP = "bad_timestamp"
    FUTURE = "future"
    TOO_DEEP = "too_deep"
    BAD_UTF8 = "bad_utf8"
    OUT_OF_RANGE = "out_of_range"
    TOO_LARGE = "too_large"
    EMPTY = "empty"
    """A record without a value (a tombstone)."""
    MISROUTED = "misrouted"
    """Found on a partition that its key does not map to (design §6.3)."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """One event that is left out of E (design §5)."""

    index: int
    """Position in the sequence that was decoded."""
    reason: Reason
    sentence: str
    """Names the field, what was given and what is allowed. Never holds text of the payload."""
    field: str | None = None
    """The event field at fault, where one is."""


class Refusal(Exception):
    """Raised inside the decoder for one bad event; becomes a `Rejected` where its index is known."""

    def __init__(self, reason: Reason, sentence: str, field: str | None = None) -> None:
        super().__init__(sentence)
        self.reason = reason
        self.sentence = sentence
        self.field = field

    def at(self, index: int) -> Rejected:
        """The same refusal of the event at this position."""
        return Rejected(index, self.reason, self.sentence, self.field)
