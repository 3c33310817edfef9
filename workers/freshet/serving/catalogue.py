"""The FeatureSets that this process serves, by name and by entity kind."""

from __future__ import annotations

from collections.abc import Sequence

from freshet.engine.reader import Reader
from freshet.serving.problems import Problem, unknown
from freshet.spec import naming
from freshet.spec.definition import FeatureSet
from freshet.spec.partitioning import partition_of


class Served:
    """One FeatureSet with what a read of it needs."""

    def __init__(self, feature_set: FeatureSet, namespace: str) -> None:
        """`namespace` is the setting: a manifest's own wins over it."""
        definition = feature_set.definition
        self.feature_set = feature_set
        self.definition = definition
        self.namespace = feature_set.namespace or namespace
        self.name = feature_set.name
        self.version = feature_set.version
        self.reader = Reader(definition)
        self.features = {feature.name: feature for feature in definition.features}
        """In the manifest's order."""
        self._partitions = feature_set.source.partitions
        self._partitioner = feature_set.source.partitioner
        self.tags = tuple(
            naming.tag(self.namespace, self.name, definition.revision, partition)
            for partition in range(self._partitions)
        )
        """Prefix of every online key, by partition."""

    def partition(self, key: str) -> int:
        """The partition that holds an entity."""
        return partition_of(key, self._partitions, self._partitioner)


class Catalogue:
    """All served FeatureSets; never changes.

    Raises ValueError if two have one name, or if there are none and `may_be_empty` is not said.
    """

    def __init__(
        self,
        feature_sets: Sequence[FeatureSet],
        namespace: str,
        *,
        before: Catalogue | None = None,
        may_be_empty: bool = False,
    ) -> None:
        """What did not change since `before` (of the same `namespace`) stays the same object, with its caches."""
        if not feature_sets and not may_be_empty:
            raise ValueError("there is no FeatureSet to serve: name at least one manifest in FRESHET_MANIFESTS")
        self.namespace = namespace
        self.served: dict[str, Served] = {}
        self.kinds: dict[str, tuple[Served, ...]] = {}
        for feature_set in feature_sets:
            if feature_set.name in self.served:
                raise ValueError(
                    f"two manifests define the FeatureSet {feature_set.name!r}: give one of them another name"
                )
            one = before.served.get(feature_set.name) if before is not None else None
            if one is None or one.feature_set != feature_set:
                one = Served(feature_set, namespace)
            self.served[feature_set.name] = one
            kind = one.definition.entity
            self.kinds[kind] = (*self.kinds.get(kind, ()), one)

    def require_any(self) -> None:
        """Raises Problem (404) if there is no FeatureSet at all."""
        if not self.served:
            raise Problem(404, "no_featuresets", "no FeatureSet is applied yet")

    def kind(self, name: str | None) -> tuple[Served, ...]:
        """All FeatureSets of an entity kind; None: of the first one. Raises Problem (404)."""
        self.require_any()
        if name is None:
            return next(iter(self.kinds.values()))
        if name not in self.kinds:
            raise unknown("entity kind", name, self.kinds)
        return self.kinds[name]

    def find(self, name: str, version: str | None = None) -> Served:
        """The FeatureSet of this name. Raises Problem (404) for another name or version."""
        self.require_any()
        if name not in self.served:
            raise unknown("FeatureSet", name, self.served)
        found = self.served[name]
        if version is not None and version != found.version:
            raise unknown("version", version, [found.version], f" of the FeatureSet {name!r}")
        return found

    def with_version(self, group: Sequence[Served], version: str) -> tuple[Served, ...]:
        """Those of a group that have this version. Raises Problem (404) if none has."""
        found = tuple(served for served in group if served.version == version)
        if not found:
            raise unknown("version", version, dict.fromkeys(served.version for served in group))
        return found


def incomplete(served: Served, partition: int, started: bool) -> Problem:
    """Why no entity of a partition can be answered yet (503)."""
    name = f"partition {partition} of the FeatureSet {served.name!r}"
    if not started:
        return Problem(503, "partition_without_progress", f"no processor has begun {name}: try again when one runs")
    return Problem(503, "partition_incomplete", f"{name} is still catching up with its topic: try again shortly")
