"""The manifest of an Experiment (design §4): checked by this version, and not run by it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, ValidationError, model_validator

from freshet.spec.complaints import problems_of
from freshet.spec.features import STRICT, SqlText
from freshet.spec.manifest import API_VERSION, MetadataModel
from freshet.spec.problems import ManifestError, Problem, or_else, quoted
from freshet.spec.resource import lines_of, plain_resource, unreadable
from freshet.spec.rules import EntityName, FeatureName, Hint, ResourceName, VersionName, broken, duration, pattern

NOT_RUN = "is valid, and this version of Freshet does not run experiments"
"""What is told of an experiment that has no problem."""

MOST_VARIANTS = 10
MOST_PARAMETERS = 50
MOST_OVERRIDES = 1_000
MOST_METRICS = 50

VALUE_METRICS = ("sum", "mean", "min", "max")
"""Aggregates of metrics that need `of`; count is of the events themselves."""

_PERCENT = r"(100(\.0{1,2})?|[0-9]{1,2}(\.[0-9]{1,2})?)%"
_PERCENT_ALLOWED = "use a share from 0% to 100% with at most two decimals, for example 50% or 0.25%"


def _percent(given: object) -> int:
    if not isinstance(given, str):
        raise broken(f"must be a share like 50%, got {quoted(given)}")
    if not re.fullmatch(_PERCENT, given, re.ASCII):
        raise broken(f"{quoted(given)} is not allowed: {_PERCENT_ALLOWED}")
    whole, _, part = given.removesuffix("%").partition(".")
    return int(whole) * 100 + int(part.ljust(2, "0"))


Percent = Annotated[
    int,
    BeforeValidator(_percent),
    Hint({"type": "string", "pattern": f"^(?:{_PERCENT})$", "x-sentence": _PERCENT_ALLOWED, "maxLength": 7}),
]
"""Of ten thousand: `0.25%` is 25, so that no share is rounded."""

VariantName = Annotated[
    str,
    *pattern(
        r"[A-Za-z0-9]([A-Za-z0-9._-]{0,30}[A-Za-z0-9])?",
        "use at most 32 letters, digits, dots, hyphens and underscores, with a letter or digit first and last",
        32,
    ),
]

UnitId = Annotated[str, Field(min_length=1, max_length=512)]


class _Model(BaseModel):
    model_config = STRICT


class VariantModel(_Model):
    """One arm."""

    name: VariantName
    weight: Annotated[int, Field(ge=1, le=10_000)] = 1
    """Its share of the enrolled is its part of the sum of weights."""
    version: VersionName | None = None
    """Of the FeatureSet, that the arm is served."""
    parameters: (
        Annotated[
            dict[
                FeatureName,
                Annotated[bool | int | float | Annotated[str, Field(max_length=1_000)], Hint({"x-scalar": True})],
            ],
            Field(min_length=1, max_length=MOST_PARAMETERS),
        ]
        | None
    ) = None
    """Served to the arm as a flag's value."""
    control: bool = False

    @model_validator(mode="after")
    def _kind(self) -> VariantModel:
        if (self.version is None) == (self.parameters is None):
            raise broken("needs either version or parameters, and not both")
        return self


class MetricModel(_Model):
    """What the arms are compared by: an aggregate of each unit's events since its exposure."""

    name: FeatureName
    aggregate: Literal["count", "sum", "mean", "min", "max"]
    of: SqlText | None = None
    where: SqlText | None = None
    role: Literal["Goal", "Guardrail", "Secondary"] = "Goal"

    @model_validator(mode="after")
    def _value(self) -> MetricModel:
        if (self.aggregate in VALUE_METRICS) != (self.of is not None):
            if self.of is None:
                raise broken(f"{self.aggregate} needs of: the value that is aggregated, for example `of: amount`")
            raise broken("count is of events and takes no `of`; use where")
        return self


class StopModel(_Model):
    maxDuration: Annotated[int, *duration("1h", "365d")] | None = None


class ExperimentSpec(_Model):
    featureSet: ResourceName
    """In the experiment's namespace."""
    unit: EntityName
    traffic: Percent = 10_000
    variants: Annotated[list[VariantModel], Field(min_length=2, max_length=MOST_VARIANTS)]
    overrides: Annotated[dict[UnitId, VariantName], Field(max_length=MOST_OVERRIDES)] = {}
    """Units that always see one variant, and count for no metric."""
    holdout: Percent = 0
    metrics: Annotated[list[MetricModel], Field(max_length=MOST_METRICS)] = []
    stop: StopModel = StopModel()


class Experiment(_Model):
    """One document of kind Experiment."""

    apiVersion: Literal["freshet.dev/v1alpha1"]
    kind: Literal["Experiment"]
    metadata: MetadataModel
    spec: ExperimentSpec


def experiment_of(resource: Mapping[str, Any]) -> Experiment:
    """The experiment that an API object means. Raises ManifestError with one `path: message` a line."""
    data = plain_resource(resource)
    experiment, problems = check_experiment(data)
    problems = [*unreadable(data), *problems]
    if experiment is None or problems:
        raise ManifestError(lines_of(problems))
    return experiment


def check_experiment(data: Any) -> tuple[Experiment | None, list[Problem]]:
    """The experiment of a document's data, or every problem that was found."""
    if not isinstance(data, dict):
        return None, [Problem((), f"must be a mapping with apiVersion, kind, metadata and spec, got {quoted(data)}")]
    if data.get("apiVersion") != API_VERSION:
        return None, [Problem(("apiVersion",), f'must be "{API_VERSION}", got {quoted(data.get("apiVersion"))}')]
    try:
        experiment = Experiment.model_validate(data)
    except ValidationError as error:
        return None, problems_of(error, Experiment)
    problems = list(_contradictions(experiment.spec))
    return (None, problems) if problems else (experiment, [])


def _contradictions(spec: ExperimentSpec) -> Iterator[Problem]:
    names = [variant.name for variant in spec.variants]
    for field, given in (("variants", names), ("metrics", [metric.name for metric in spec.metrics])):
        for i, name in enumerate(given):
            if name in given[:i]:
                place = f"spec.{field}[{given.index(name)}]"
                yield Problem(("spec", field, i, "name"), f"{quoted(name)} is already the name of {place}")
    controls = [variant.name for variant in spec.variants if variant.control]
    if len(controls) != 1:
        shown = ", ".join(controls) or "none"
        yield Problem(("spec", "variants"), f"exactly one must have `control: true`; here it is {shown}")
    for unit, name in spec.overrides.items():
        if name not in names:
            yield Problem(("spec", "overrides", unit), f"unknown variant {quoted(name)}{or_else(name, names)}")
