"""The manifest of a FeatureSet as it is written (design §4): names, types and bounds of its fields.

A field that this version does not implement is refused with that reason; what only concerns a deployment (sizes,
rollout, history, drift) is checked and left to the operator. What fields mean together is checked by `compile`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field, model_validator

from freshet.spec.definition import ENTITY_BYTES
from freshet.spec.features import STRICT, FeatureModel
from freshet.spec.problems import any_of, quoted
from freshet.spec.rules import (
    EntityName,
    EventKey,
    FieldName,
    FieldPath,
    Hint,
    NamespaceName,
    ResourceName,
    Timezone,
    TopicName,
    VersionName,
    broken,
    duration,
    only,
    size,
)

API_VERSION = "freshet.dev/v1alpha1"
MOST_FIELDS = 200
MOST_FEATURES = 500
"""Entries of `features`; what they give together is bounded by `compile`."""

FIELD_TYPES = ("string", "double", "integer", "boolean")
_OTHER_NAMES = {
    "text": "string",
    "str": "string",
    "varchar": "string",
    "float": "double",
    "number": "double",
    "numeric": "double",
    "int": "integer",
    "long": "integer",
    "bigint": "integer",
    "bool": "boolean",
}
_PLANNED_TYPES = ("array", "list", "object", "map", "timestamp", "date")


def _field_type(given: str) -> str:
    if given in FIELD_TYPES:
        return given
    if given in _PLANNED_TYPES or given.endswith("[]"):
        raise broken(
            f"type {quoted(given)} is not implemented by this version of Freshet; it has {any_of(FIELD_TYPES, 'and')}"
        )
    hint = f'; did you mean "{_OTHER_NAMES[given]}"?' if given in _OTHER_NAMES else ""
    raise broken(f"must be {any_of(FIELD_TYPES)}, got {quoted(given)}{hint}")


class _Model(BaseModel):
    model_config = STRICT


class MetadataModel(_Model):
    name: ResourceName
    namespace: NamespaceName | None = None
    """Omitted: the services' setting FRESHET_NAMESPACE, on a cluster kubectl's namespace."""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class EntityModel(_Model):
    name: EntityName
    key: FieldName


class FieldModel(_Model):
    """An event field that expressions may use."""

    type: Annotated[
        str,
        AfterValidator(_field_type),
        Hint({"enum": [*FIELD_TYPES, *_PLANNED_TYPES], "x-planned": [*_PLANNED_TYPES]}),
    ]
    path: FieldPath | None = None
    required: bool = False
    minimum: float | None = Field(default=None, allow_inf_nan=False)
    maximum: float | None = Field(default=None, allow_inf_nan=False)

    @model_validator(mode="after")
    def _bounds(self) -> FieldModel:
        if self.type not in ("double", "integer") and (self.minimum is not None or self.maximum is not None):
            raise broken(f"minimum and maximum are for numbers, the type is {self.type}")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise broken(f"minimum {self.minimum:g} is above maximum {self.maximum:g}: no event could pass")
        return self


class SourceModel(_Model):
    """The topic that is read, and what its events look like."""

    topic: TopicName = "raw-events"
    partitions: Annotated[int, Field(ge=1, le=1024)] = 12
    replication: Annotated[int, Field(ge=1, le=9)] = 3
    retention: Annotated[int, *duration("1h", "3650d")] | None = None
    manage: bool = True
    partitioner: Literal["murmur2", "consistent"] = "murmur2"
    rekey: bool = False
    timestamp: EventKey = "timestamp"
    eventId: EventKey = "event_id"
    deduplicate: Annotated[int, *duration("0s", "24h")] = 600_000
    maxFutureSkew: Annotated[int, *duration("0s", "24h")] = 300_000
    fields: Annotated[dict[FieldName, FieldModel], Field(max_length=MOST_FIELDS)] = {}


class OutputModel(_Model):
    topic: TopicName = "feature-events"
    every: Annotated[int, *duration("100ms", "1m")] = 1_000


class ProcessorModel(_Model):
    minReplicas: Annotated[int, Field(ge=0, le=1024)] = 1
    maxReplicas: Annotated[int, Field(ge=1, le=1024)] = 12
    targetLag: Annotated[int, Field(ge=1)] = 5000

    @model_validator(mode="after")
    def _order(self) -> ProcessorModel:
        if self.minReplicas > self.maxReplicas:
            raise broken(f"minReplicas {self.minReplicas} is above maxReplicas {self.maxReplicas}")
        return self


class RolloutModel(_Model):
    backfill: Annotated[str, *only("earliest", "a revision starts with all that the topic holds")] = "earliest"
    promote: Annotated[str, *only("Automatic", "there is one revision, which serves as soon as it has caught up")] = (
        "Automatic"
    )
    shadowFor: Annotated[int, *duration("0s", "30d")] = 300_000
    rollbackWindow: Annotated[int, *duration("0s", "90d")] = 86_400_000


class HistoryModel(_Model):
    events: Annotated[int, *duration("1d", "3650d")] = 30 * 86_400_000
    snapshots: Annotated[int, *duration("1d", "3650d")] = 90 * 86_400_000


class BaselineModel(_Model):
    samples: Annotated[int, Field(ge=100, le=10_000_000)] = 10_000


class LimitsModel(_Model):
    """Bounds of what one entity may cost."""

    entityBytes: Annotated[int, *size("16Ki", "8Mi")] = ENTITY_BYTES
    """Of the parts of its state that have no fixed width."""


class DriftModel(_Model):
    baseline: BaselineModel = BaselineModel()
    threshold: Annotated[float, Field(gt=0, le=100)] = 0.2


class SpecModel(_Model):
    version: VersionName
    entity: EntityModel
    timezone: Timezone = "UTC"
    source: SourceModel = SourceModel()
    features: Annotated[list[FeatureModel], Field(min_length=1, max_length=MOST_FEATURES)]
    output: OutputModel | None = None
    """Omitted: no feature vectors are sent to a topic."""
    entityTtl: Annotated[int, *duration("1h", "3650d")] | None = None
    processor: ProcessorModel = ProcessorModel()
    rollout: RolloutModel = RolloutModel()
    history: HistoryModel = HistoryModel()
    drift: DriftModel = DriftModel()
    limits: LimitsModel = LimitsModel()
    deletionPolicy: Literal["Retain", "Delete"] = "Retain"
    suspend: bool = False
    """True: a cluster runs no processors; what was computed is still served."""


class Manifest(_Model):
    """One document of kind FeatureSet."""

    apiVersion: Literal["freshet.dev/v1alpha1"]
    kind: Literal["FeatureSet"]
    metadata: MetadataModel
    spec: SpecModel
