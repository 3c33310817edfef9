"""One entry of `spec.features` as it is written."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from freshet.spec.definition import Aggregate
from freshet.spec.problems import any_of, did_you_mean, or_else, quoted
from freshet.spec.rules import FeatureName, Hint, broken, duration
from freshet.spec.windows import HOPS

STRICT = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=False)

MOST_WINDOWS = 16
"""Of one feature."""

MOST_LAST = 100
"""Values of one last_n."""

WINDOWED = frozenset(
    {
        Aggregate.COUNT,
        Aggregate.SUM,
        Aggregate.MEAN,
        Aggregate.MIN,
        Aggregate.MAX,
        Aggregate.STDDEV,
        Aggregate.VARIANCE,
        Aggregate.FIRST,
        Aggregate.LAST,
        Aggregate.RATE,
        Aggregate.TREND,
        Aggregate.DISTINCT,
        Aggregate.MODE,
        Aggregate.PERCENTILE,
        Aggregate.LAST_N,
    }
)
"""Aggregates that tiles hold, so over windows; the others live as long as the entity."""

OF_VALUES = (WINDOWED - {Aggregate.COUNT, Aggregate.RATE}) | {Aggregate.EWMA}
"""Aggregates of a value; the others are of the events themselves."""

OF_ANY_TYPE = frozenset({Aggregate.FIRST, Aggregate.LAST, Aggregate.LAST_N, Aggregate.DISTINCT, Aggregate.MODE})
"""Those whose value may be text or true and false, too."""

SESSIONS = frozenset({Aggregate.SESSION_ACTIVE, Aggregate.SESSION_COUNT, Aggregate.SESSION_DURATION})

WITH_UNIT = frozenset(
    {
        Aggregate.RATE,
        Aggregate.TREND,
        Aggregate.TIME_SINCE_FIRST,
        Aggregate.TIME_SINCE_LAST,
        Aggregate.SESSION_DURATION,
    }
)

NEVER_NULL = frozenset({Aggregate.COUNT, Aggregate.SUM, Aggregate.RATE, Aggregate.DISTINCT})
"""0 without events, so a default would never be served."""

UNITS_MS = {"second": 1_000, "minute": 60_000, "hour": 3_600_000, "day": 86_400_000}


def _aggregate(given: str) -> str:
    if given not in set(Aggregate):
        raise broken(f"unknown aggregate {quoted(given)}{or_else(given, Aggregate)}")
    return given


def _one_of(known: tuple[str, ...]) -> tuple[AfterValidator, Hint]:
    def check(given: str) -> str:
        if given not in known:
            raise broken(f"must be {any_of(known)}, got {quoted(given)}{did_you_mean(given, known)}")
        return given

    return AfterValidator(check), Hint({"enum": [*known]})


SqlText = Annotated[str, StringConstraints(min_length=1, max_length=4_000)]


class FeatureModel(BaseModel):
    """A feature: either an aggregate of events or an expression over other features."""

    model_config = STRICT

    name: FeatureName
    aggregate: (
        Annotated[
            str,
            AfterValidator(_aggregate),
            Hint({"enum": [one.value for one in Aggregate]}),
        ]
        | None
    ) = None
    of: SqlText | None = None
    where: SqlText | None = None
    windows: (
        Annotated[
            list[Annotated[str, Hint({"maxLength": 12, "x-window": True})]],
            Field(min_length=1, max_length=MOST_WINDOWS),
        ]
        | None
    ) = None
    granularity: Annotated[str, *_one_of(tuple(HOPS))] | None = None
    unit: Annotated[str, *_one_of(tuple(UNITS_MS))] | None = None
    gap: Annotated[int, *duration("1s", "7d")] | None = None
    halfLife: Annotated[int, *duration("1s", "365d")] | None = None
    size: Annotated[int, Field(ge=1, le=MOST_LAST)] | None = None
    percentile: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None
    expression: SqlText | None = None
    default: Annotated[bool | int | float | str, Hint({"x-scalar": True})] | None = None

    @field_validator("default", mode="after")
    @classmethod
    def _finite(cls, given: Any) -> Any:
        if isinstance(given, (int, float)) and not abs(given) <= 1e300:
            raise broken("must be a finite number of at most 1e300")
        return given

    @model_validator(mode="after")
    def _kind(self) -> FeatureModel:
        if (self.aggregate is None) == (self.expression is None):
            raise broken("needs either aggregate or expression, and not both")
        return self
