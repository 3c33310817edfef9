"""Which custom resources there are: learnt from the watch, checked by a list every minute.

What is here is never proof: a reconcile reads its resource anew. It says which keys there are, who claims which topic,
and whether the watch is blind.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from freshet_operator import metrics
from freshet_operator.api.kinds import EXPERIMENT, FEATURESET
from freshet_operator.model import Key, Object

BLIND_SECONDS = 60.0
"""A change that a list has shown and the watch has not for this long proves that the watch is blind."""


_METADATA = (
    "name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp", "labels",
    "finalizers",
)  # fmt: skip
_STATUS = ("topics", "serving")


@dataclass(slots=True)
class _Entry:
    resource: Object
    told: str | None = None  # resourceVersion that the watch told last
    missed: float | None = None  # since when a list knows more than the watch


class Store:
    """The known FeatureSets and Experiments."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._entries: dict[Key, _Entry] = {}
        self._gone: dict[Key, float] = {}

    def keys(self) -> list[Key]:
        """All known keys."""
        return list(self._entries)

    def get(self, key: Key) -> Object | None:
        """As it was known last."""
        entry = self._entries.get(key)
        return entry.resource if entry else None

    def told(self, resource: Object, deleted: bool) -> Object | None:
        """The watch has said this (see `remembered`); returns what was known before."""
        key = key_of(resource)
        self._gone.pop(key, None)
        if deleted:
            before = self._entries.pop(key, None)
            self._show()
            return before.resource if before else None
        entry = self._entries.get(key)
        before_resource = entry.resource if entry else None
        self._entries[key] = _Entry(resource, resource["metadata"].get("resourceVersion"))
        self._show()
        return before_resource

    def listed(self, resources: Iterable[Object]) -> list[tuple[Key, Object | None, Object | None]]:
        """A complete list has shown these (see `remembered`); returns what differs: (key, before, now)."""
        now = self._clock()
        changed: list[tuple[Key, Object | None, Object | None]] = []
        found: set[Key] = set()
        for resource in resources:
            key, version = key_of(resource), resource["metadata"].get("resourceVersion")
            found.add(key)
            entry = self._entries.get(key)
            if entry is None or entry.resource["metadata"].get("resourceVersion") != version:
                new = _Entry(resource, entry.told if entry else None, entry.missed if entry else None)
                changed.append((key, entry.resource if entry else None, new.resource))
                self._entries[key] = entry = new
            if entry.told == version:
                entry.missed = None
            elif entry.missed is None:
                entry.missed = now
                if entry.told is not None:
                    metrics.WATCH_MISSED.inc()
        for key in [key for key in self._entries if key not in found]:
            entry = self._entries.pop(key)
            if entry.told is not None:
                self._gone[key] = now
                metrics.WATCH_MISSED.inc()
            changed.append((key, entry.resource, None))
        self._show()
        return changed

    def blind_seconds(self) -> float:
        """How long the watch has owed a change that a list has shown; 0: it owes none."""
        since = [entry.missed for entry in self._entries.values() if entry.missed is not None]
        since += self._gone.values()
        return self._clock() - min(since) if since else 0.0

    def _show(self) -> None:
        for kind in (FEATURESET.kind, EXPERIMENT.kind):
            metrics.RESOURCES.labels(kind).set(sum(key.kind == kind for key in self._entries))


def key_of(resource: Object) -> Key:
    """The key of a custom resource."""
    return Key(resource["kind"], resource["metadata"]["namespace"], resource["metadata"]["name"])


def remembered(resource: Object) -> Object:
    """What is kept of a custom resource: a tenth of it. Annotations are a number that changes with them."""
    meta, status = resource["metadata"], resource.get("status") or {}
    kept = {name: meta[name] for name in _METADATA if name in meta}
    kept["annotations"] = hash(repr(sorted((meta.get("annotations") or {}).items())))
    return {
        "apiVersion": resource["apiVersion"],
        "kind": resource["kind"],
        "metadata": kept,
        "status": {name: status[name] for name in _STATUS if name in status},
    }


def slim(item: Object) -> Object:
    """An object without what nobody here reads."""
    metadata = {name: value for name, value in item["metadata"].items() if name != "managedFields"}
    return {**item, "metadata": metadata}
