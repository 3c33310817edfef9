"""From what the watch tells to keys in the queue. Changes that no reconcile would look at are passed over."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from freshet_operator.api.kinds import FEATURESET
from freshet_operator.interest import Interests
from freshet_operator.model import Key, Object
from freshet_operator.names import LABEL_FEATURESET
from freshet_operator.queue import WorkQueue
from freshet_operator.store import Store, key_of, remembered

_SOON_SECONDS = 0.2
"""Children change in flocks: the first reconcile sees them all."""


class Router:
    """Keeps the store up to date and adds keys."""

    def __init__(self, queue: WorkQueue, store: Store, interests: Interests, serving: Key) -> None:
        self._queue = queue
        self._store = store
        self._interests = interests
        self._serving = serving
        self._children: dict[str, int] = {}

    def resource(self, resource: Object, deleted: bool) -> None:
        """The watch of FeatureSets or Experiments has told something."""
        now = remembered(resource)
        before = self._store.told(now, deleted)
        if not deleted:
            self._interests.learn(resource)
        self.changed(key_of(resource), before, None if deleted else now)

    def listed(self, resources: Iterable[Object]) -> None:
        """A complete list has shown these remembered resources."""
        for key, before, now in self._store.listed(resources):
            self.changed(key, before, now)

    def changed(self, key: Key, before: Object | None, now: Object | None) -> None:
        """A resource differs from what was known."""
        if now is None:
            self._tell_others(key)
            self._interests.forget(key)
        if before is None or now is None:
            self._queue.reset(key)
            self._queue.add(self._serving, _SOON_SECONDS)
            self._tell_others(key)
        elif _asked(before) != _asked(now):
            self._queue.reset(key)
            self._tell_others(key)
        elif _beside(before) != _beside(now):
            self._queue.add(key)

    def child(self, item: Object, deleted: bool) -> None:
        """The watch of a kind of children has told something."""
        meta = item["metadata"]
        uid = str(meta.get("uid"))
        if deleted:
            self._children.pop(uid, None)
        else:
            print_now = hash(_text(_read(item)))
            if self._children.get(uid) == print_now:
                return
            self._children[uid] = print_now
        for name in _featuresets(meta):
            self._queue.add(Key("FeatureSet", meta["namespace"], name), _SOON_SECONDS)

    def _tell_others(self, key: Key) -> None:
        for other in self._interests.sharing(key):
            self._queue.add(other, _SOON_SECONDS)


def _featuresets(meta: Object) -> set[str]:
    """Whose child it is: by its label, and by its owner for one whose label was edited."""
    owners = {owner["name"] for owner in meta.get("ownerReferences") or () if owner.get("kind") == FEATURESET.kind}
    label = (meta.get("labels") or {}).get(LABEL_FEATURESET)
    return owners | {label} if label else owners


def _asked(resource: Object) -> tuple[Any, ...]:
    """What a user asks for."""
    meta = resource["metadata"]
    return meta.get("uid"), meta.get("generation"), meta.get("deletionTimestamp"), _text(meta.get("annotations"))


def _beside(resource: Object) -> tuple[Any, ...]:
    """What else of a resource is looked at; its status is ours."""
    meta = resource["metadata"]
    return _text(meta.get("labels")), _text(meta.get("finalizers"))


def _read(item: Object) -> Any:
    """What is read of a child, or at least changes when that does."""
    meta = item["metadata"]
    common = (meta.get("deletionTimestamp"), meta.get("labels"), meta.get("annotations"), meta.get("ownerReferences"))
    kind = item.get("kind")
    status = item.get("status") or {}
    if kind == "Pod":
        return common, _pod(status)
    if kind in ("Deployment", "Job"):
        counts = {name: value for name, value in status.items() if name != "conditions"}
        conditions = [(c["type"], c["status"], c.get("reason")) for c in status.get("conditions") or ()]
        return common, meta.get("generation"), counts, conditions
    if "generation" in meta:
        return common, meta["generation"]
    return common, meta.get("resourceVersion")


def _pod(status: Object) -> Any:
    containers = [
        (c.get("ready"), c.get("restartCount"), sorted((c.get("state") or {}).items(), key=str))
        for c in status.get("containerStatuses") or ()
    ]
    conditions = [(c["type"], c["status"], c.get("reason")) for c in status.get("conditions") or ()]
    return status.get("phase"), status.get("podIP"), containers, conditions


def _text(value: Any) -> str:
    return repr(value)
