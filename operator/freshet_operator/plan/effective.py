"""Which spec counts: the one that was applied, or, while that cannot be used, the last one that could."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from freshet.spec.definition import FeatureSet
from freshet.spec.problems import ManifestError
from freshet_operator import names
from freshet_operator.model import Object
from freshet_operator.plan.compiled import compiled
from freshet_operator.plan.conditions import Verdict


@dataclass(frozen=True, slots=True)
class Effective:
    """The spec that counts."""

    resource: Object
    """The FeatureSet with that spec and the generation it had."""
    featureset: FeatureSet


@dataclass(frozen=True, slots=True)
class Choice:
    """The spec that counts and why the one that was applied does not."""

    effective: Effective | None
    """None: no spec of this FeatureSet could ever be used, or none is left: nothing may be changed."""
    problem: Verdict | None
    """InvalidSpec or DefinitionChanged; None: the spec that was applied counts."""


def choose(resource: Object, children: Sequence[Object], paused: bool) -> Choice:
    """The spec that counts. While paused, a changed spec waits: the last one that was acted on counts."""
    held = _held(resource, children)
    applied, problem = _applied(resource, held)
    if problem is None and not paused:
        return Choice(applied, None)
    for kept in _kept(resource, children):
        if held is None or kept.featureset.definition.revision == held.revision:
            return Choice(kept, problem)
    return Choice(applied if paused and problem is None else None, problem)


def served_revision(resource: Object) -> str:
    """The revision that is served; empty if none ever was."""
    return str(((resource.get("status") or {}).get("serving") or {}).get("revision") or "")


def is_paused(resource: Object) -> bool:
    """Whether the annotation says that nothing may be written but the status."""
    return (resource["metadata"].get("annotations") or {}).get(names.PAUSED) == "true"


def is_ours(resource: Object, item: Object) -> bool:
    """Whether the resource owns the object."""
    owners = item["metadata"].get("ownerReferences") or ()
    return any(owner.get("uid") == resource["metadata"].get("uid") for owner in owners)


@dataclass(frozen=True, slots=True)
class _Held:
    """The one definition that a FeatureSet has."""

    version: str
    revision: str
    served: bool


def _held(resource: Object, children: Sequence[Object]) -> _Held | None:
    """The definition that this FeatureSet is bound to: the first valid one; None before there is one.

    It is bound from the first ControllerRevision on, which is written before any processor is: what runs, or ran, may
    have written keys and joined its consumer group, and a definition that took its place would leave them behind.
    """
    status = resource.get("status") or {}
    served = status.get("serving") or {}
    for one in (served, *(status.get("versions") or ())):
        if one.get("revision"):
            return _Held(str(one.get("version", "")), str(one["revision"]), one is served)
    oldest = next(iter(reversed(list(_kept(resource, children)))), None)
    if oldest is None:
        return None
    return _Held(oldest.featureset.version, oldest.featureset.definition.revision, False)


def _applied(resource: Object, held: _Held | None) -> tuple[Effective | None, Verdict | None]:
    try:
        featureset = compiled(resource)
    except ManifestError as error:
        return None, Verdict("False", "InvalidSpec", f"the spec cannot be used: {'; '.join(error.lines)}")
    if held is not None and held.revision != featureset.definition.revision:
        return None, _definition_changed(featureset, held)
    return Effective(resource, featureset), None


def _definition_changed(featureset: FeatureSet, held: _Held) -> Verdict:
    state = "is served" if held.served else "was applied first, so that its processors may have written features"
    ways = "apply the former definition again, or make a FeatureSet with another name"
    if not held.served:
        ways += ", or delete this one and apply the new definition (deletionPolicy: Delete also frees its keys)"
    message = (
        f"spec.version {featureset.version} changes what values mean (revision {featureset.definition.revision}), and"
        f" version {held.version} (revision {held.revision}) {state}; this version of Freshet has one revision of a"
        f" FeatureSet: {ways}"
    )
    return Verdict("False", "DefinitionChanged", message)


def _kept(resource: Object, children: Iterable[Object]) -> Iterator[Effective]:
    """The specs that could be used, last one first."""
    revisions = [one for one in children if one.get("kind") == "ControllerRevision" and is_ours(resource, one)]
    revisions.sort(key=lambda one: int(one.get("revision") or 0), reverse=True)
    for one in revisions:
        candidate = with_spec_of(resource, one.get("data") or {}, int(one.get("revision") or 0))
        try:
            featureset = compiled(candidate)
        except ManifestError:
            continue  # of an older operator, which took what this one does not
        yield Effective(candidate, featureset)


def with_spec_of(resource: Object, data: Object, generation: int) -> Object:
    """The resource with the spec that a ControllerRevision's data keeps, at the generation it had."""
    return {**resource, "spec": data.get("spec") or {}, "metadata": {**resource["metadata"], "generation": generation}}
