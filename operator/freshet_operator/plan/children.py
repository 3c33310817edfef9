"""Writes that make a FeatureSet's objects what they should be, and remove those that it no longer wants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from freshet_operator.desired.revision import KEPT
from freshet_operator.model import Object, Write
from freshet_operator.plan.drift import contains
from freshet_operator.plan.effective import is_ours


@dataclass(frozen=True, slots=True)
class ChildWrites:
    """What to write, and what must not be written."""

    writes: tuple[Write, ...]
    taken: tuple[str, ...]
    """Wanted objects whose names belong to something that another controller owns: "Deployment a-0a1b2c3d4e"."""


def child_writes(resource: Object, wanted: Sequence[Object], children: Sequence[Object]) -> ChildWrites:
    """Applies what is missing, differs from what was applied or was edited; deletes what is ours and not wanted."""
    live = {_id(item): item for item in children}
    writes: list[Write] = []
    taken: list[str] = []
    for item in wanted:
        there = live.get(_id(item))
        if there is not None and _is_foreign(resource, there):
            taken.append(what(item))
        elif there is None or not contains(there, item):
            writes.append(Write("apply", what(item), object=item))
    keep = {_id(item) for item in wanted} | _kept_revisions(resource, wanted, children)
    unwanted = (item for item in children if is_ours(resource, item) and _id(item) not in keep)
    writes += [delete(item) for item in unwanted if not item["metadata"].get("deletionTimestamp")]
    return ChildWrites(tuple(writes), tuple(taken))


def delete(item: Object) -> Write:
    """Deletes exactly this object, and not one that has its name later."""
    meta = {name: item["metadata"][name] for name in ("name", "namespace", "uid") if name in item["metadata"]}
    return Write("delete", what(item), object={**_kind(item), "metadata": meta})


def what(item: Object) -> str:
    """An object as logs and events name it."""
    return f"{item['kind']} {item['metadata']['name']}"


def find(children: Sequence[Object], resource: Object, kind: str, name: str) -> Object | None:
    """The live child; None if there is none of ours."""
    for item in children:
        if _id(item) == (kind, name) and is_ours(resource, item):
            return item
    return None


def _kind(item: Object) -> Object:
    return {"apiVersion": item["apiVersion"], "kind": item["kind"]}


def _id(item: Object) -> tuple[str, str]:
    return item["kind"], item["metadata"]["name"]


def _is_foreign(resource: Object, item: Object) -> bool:
    """Whether another controller owns it. What nobody owns (left by `--cascade=orphan`) is taken in."""
    owners = item["metadata"].get("ownerReferences") or ()
    return any(one.get("controller") and one.get("uid") != resource["metadata"].get("uid") for one in owners)


def _kept_revisions(resource: Object, wanted: Sequence[Object], children: Sequence[Object]) -> set[tuple[str, str]]:
    """The newest ControllerRevisions, the wanted one among them."""
    kind = "ControllerRevision"
    ids = {_id(item) for item in wanted if item["kind"] == kind}
    found = [one for one in children if one["kind"] == kind and is_ours(resource, one) and _id(one) not in ids]
    found.sort(key=lambda one: (int(one.get("revision") or 0), one["metadata"]["name"]), reverse=True)
    return {_id(one) for one in found[: max(0, KEPT - len(ids))]}
