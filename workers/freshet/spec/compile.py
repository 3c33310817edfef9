"""From a manifest to what it means: names resolved, expressions checked, inputs shared, the revision computed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from freshet.spec.compile_aggregates import AggregateCompiler
from freshet.spec.compile_expressions import Written, compile_expressions
from freshet.spec.compile_fields import compile_fields
from freshet.spec.compile_source import LEAST_BYTES, check_bounds, compile_source, topic_read
from freshet.spec.definition import (
    ENTITY_BYTES,
    AggregateFeature,
    Definition,
    ExpressionFeature,
    Feature,
    FeatureSet,
    Field,
)
from freshet.spec.expr.check import KINDS
from freshet.spec.expr.scope import Scope
from freshet.spec.expr.tree import Expr, Type
from freshet.spec.features import FeatureModel
from freshet.spec.manifest import Manifest, SpecModel
from freshet.spec.problems import Path, Problem, path_text, quoted
from freshet.spec.revision import revision_of


@dataclass(frozen=True, slots=True)
class Missing:
    """What was left out of a manifest because it is broken: names that may not be called unknown."""

    features: frozenset[str] = frozenset()
    fields: frozenset[str] = frozenset()
    indices: tuple[int, ...] | None = None
    """Places in the written `features` of those that are left; None: nothing was left out."""


def compile_manifest(manifest: Manifest, missing: Missing | None = None) -> tuple[FeatureSet | None, list[Problem]]:
    """The feature set, or every problem that was found."""
    compiler = _Compiler(manifest.spec, missing or Missing())
    definition = compiler.definition()
    problems = compiler.problems
    source = compile_source(manifest.spec, definition, problems) if definition else None
    if problems or definition is None or source is None:
        return None, problems
    output = manifest.spec.output
    compiled = FeatureSet(
        name=manifest.metadata.name,
        version=manifest.spec.version,
        definition=definition,
        source=source,
        output_topic=output.topic if output else None,
        output_every_ms=output.every if output else 1_000,
        entity_ttl_ms=manifest.spec.entityTtl,
        history_events_ms=manifest.spec.history.events,
        history_snapshots_ms=manifest.spec.history.snapshots,
        namespace=manifest.metadata.namespace,
    )
    return compiled, problems


class _Compiler:
    """One pass over `spec`, which goes on after a problem as far as it can."""

    def __init__(self, spec: SpecModel, missing: Missing) -> None:
        self.spec = spec
        self.missing = missing
        self.problems: list[Problem] = []
        self.paths: dict[str, Path] = {}

    def definition(self) -> Definition | None:
        spec = self.spec
        fields = compile_fields(spec, self.problems)
        aggregates = self._aggregates(fields)
        known = {f.name: f.type for group in aggregates.values() for f in group}
        features, evaluation = self._features(aggregates, known, fields)
        check_bounds(features, spec.limits.entityBytes, self.problems)
        if self.problems or self.missing.indices is not None:
            return None
        annexed = any(isinstance(f, AggregateFeature) and f.aggregate in LEAST_BYTES for f in features)
        definition = Definition(
            entity=spec.entity.name,
            key=spec.entity.key,
            timezone=spec.timezone,
            timestamp=spec.source.timestamp,
            event_id=spec.source.eventId,
            deduplicate_ms=spec.source.deduplicate,
            max_future_skew_ms=spec.source.maxFutureSkew,
            fields=tuple(fields),
            features=tuple(features),
            evaluation=tuple(evaluation),
            revision="",
            entity_bytes=spec.limits.entityBytes if annexed else ENTITY_BYTES,
        )
        log = spec.source
        revision = revision_of(definition, topic_read(spec), log.partitions, log.partitioner)
        return dataclasses.replace(definition, revision=revision)

    def _path(self, index: int) -> Path:
        kept = self.missing.indices
        return ("spec", "features", index if kept is None else kept[index])

    def _aggregates(self, fields: Sequence[Field]) -> dict[int, list[AggregateFeature]]:
        """The aggregate features by place in the manifest."""
        elsewhere = {
            name: f"{quoted(name)} is a feature; here only event fields can be used"
            for model in self.spec.features
            for name in _names(model)
        }
        names: dict[str, Type | None] = dict.fromkeys(self.missing.fields)
        names.update({field.name: field.type for field in fields})
        elsewhere = {name: text for name, text in elsewhere.items() if name not in names}
        compiler = AggregateCompiler(Scope(names, "event field", now=False, elsewhere=elsewhere), self.problems)
        return {
            i: compiler.compile(model, self._path(i))
            for i, model in enumerate(self.spec.features)
            if model.expression is None
        }

    def _features(
        self, aggregates: Mapping[int, list[AggregateFeature]], known: Mapping[str, Type], fields: Sequence[Field]
    ) -> tuple[list[Feature], list[int]]:
        """All features in the manifest's order, and the order of evaluation."""
        self._name_clashes()
        written = [
            Written(model.name, model.expression, (*self._path(i), "expression"))
            for i, model in enumerate(self.spec.features)
            if model.expression is not None
        ]
        self._misplaced()
        trees, order = compile_expressions(written, self._scope(known, fields), self.problems)
        features: list[Feature] = []
        for i, model in enumerate(self.spec.features):
            tree = trees.get(model.name) if model.expression is not None else None
            if tree is not None:
                features.append(ExpressionFeature(model.name, tree, tree.type, model.default))
            features.extend(aggregates.get(i, ()))
            self._default(model, tree, aggregates.get(i, []), self._path(i))
        place = {feature.name: i for i, feature in enumerate(features)}
        first = [i for i, feature in enumerate(features) if isinstance(feature, AggregateFeature)]
        return features, first + [place[name] for name in order if name in place]

    def _scope(self, known: Mapping[str, Type], fields: Sequence[Field]) -> Scope:
        """What expressions may read, but for other expressions."""
        names: dict[str, Type | None] = {}
        for model in self.spec.features:
            if model.expression is None:
                names.update({name: known.get(name) for name in _names(model)})
        names.update({self.spec.entity.key: Type.TEXT, "first_seen": Type.TIMESTAMP, "last_seen": Type.TIMESTAMP})
        elsewhere: dict[str, str] = {}
        for model in self.spec.features:
            if model.windows is not None and model.name not in names:
                shown = ", ".join(_names(model))
                elsewhere[model.name] = f"{quoted(model.name)} has windows; write one of {shown}"
        for field in fields:
            if field.name not in names and field.name not in {model.name for model in self.spec.features}:
                elsewhere[field.name] = (
                    f"{quoted(field.name)} is an event field; an expression reads features, for example one with"
                    f" `aggregate: last`, `of: {field.name}`"
                )
        return Scope(names, "feature", now=True, elsewhere=elsewhere, broken=self.missing.features)

    def _misplaced(self) -> None:
        for i, model in enumerate(self.spec.features):
            if model.expression is None:
                continue
            for name in ("of", "where", "windows", "granularity", "unit", "gap", "halfLife", "size", "percentile"):
                if getattr(model, name) is not None:
                    self.problems.append(Problem((*self._path(i), name), "is for aggregates; this is an expression"))

    def _name_clashes(self) -> None:
        taken = {
            self.spec.entity.key.lower(): "the entity's key",
            "first_seen": "the time of the entity's first event",
            "last_seen": "the time of the entity's newest event",
        }
        for i, model in enumerate(self.spec.features):
            path = self._path(i)
            for name in _names(model):
                if name in taken:
                    message = f"{quoted(name)} is already {taken[name]}"
                    self.problems.append(Problem((*path, "name"), message))
                elif len(name) > 63:
                    message = f"{quoted(name)} has {len(name)} characters; at most 63 are allowed"
                    self.problems.append(Problem((*path, "name"), message))
                taken.setdefault(name, f"the name of a value of {path_text(path)}")

    def _default(self, model: FeatureModel, tree: Expr | None, group: list[AggregateFeature], path: Path) -> None:
        types = {f.type for f in group} or ({tree.type} if tree else set())
        if model.default is None or not types:
            return
        wrong = _wrong_default(model.default, types.pop())
        if wrong:
            self.problems.append(Problem((*path, "default"), wrong))


def _names(model: FeatureModel) -> list[str]:
    """The names under which the feature's values are read."""
    if model.windows is None or model.expression is not None:
        return [model.name]
    return list(dict.fromkeys(f"{model.name}_{text}" for text in model.windows))


def _wrong_default(given: bool | int | float | str, kind: Type) -> str | None:
    """Why `given` cannot stand for a value of the type; None where it can."""
    is_number = isinstance(given, (int, float)) and not isinstance(given, bool)
    if kind is Type.INTEGER and is_number and float(given) != int(given):
        return f"must be a whole number like the feature's values, got {quoted(given)}"
    fits = {
        Type.BOOLEAN: isinstance(given, bool),
        Type.TEXT: isinstance(given, str),
        Type.DOUBLE: is_number,
        Type.INTEGER: is_number,
    }
    if fits.get(kind, True):
        return None
    return f"must be {KINDS[kind]} like the feature's values, got {quoted(given)}"
