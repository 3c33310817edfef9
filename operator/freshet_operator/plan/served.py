"""What the serving ConfigMap holds, and whether serving runs it.

The ConfigMap follows what each FeatureSet's own reconcile has accepted and written into its status: a version is
served from when its topics were there (status.versions, any state but Pending); the spec that was accepted last
(status.lastValid) is the one that counts, so that a bad or paused spec changes nothing here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from freshet_operator.desired.serving import entry, entry_hash
from freshet_operator.model import Claim, Object, ServingSeen
from freshet_operator.plan.conditions import Verdict, condition
from freshet_operator.plan.effective import with_spec_of
from freshet_operator.plan.topics import is_later

_NAMED = 5
_METADATA = ("namespace", "name", "generation", "creationTimestamp", "deletionTimestamp")
_STATUS = ("versions", "lastValid")


def served_part(resource: Object) -> Object:
    """What `needed_revision` and `served_entries` read of a resource: all of them are held at a time."""
    meta, status = resource["metadata"], resource.get("status") or {}
    return {
        **{part: resource[part] for part in ("apiVersion", "kind", "spec") if part in resource},
        "metadata": {name: meta[name] for name in _METADATA if name in meta},
        "status": {name: status[name] for name in _STATUS if name in status},
    }


def needed_revision(resource: Object) -> str | None:
    """Name of the ControllerRevision whose spec is served instead of the resource's own; None: its own is served."""
    last = (resource.get("status") or {}).get("lastValid") or {}
    if not _is_admitted(resource) or last.get("generation") == resource["metadata"].get("generation"):
        return None
    return last.get("name")


def served_entries(
    resources: Sequence[Object],
    last_valid: Mapping[str, Object],
    current: Iterable[Object] = (),
    unreadable: Collection[str] = (),
) -> tuple[Object, ...]:
    """The entries of the serving ConfigMap, of all FeatureSets as the API server has them.

    `last_valid`: "namespace/name" → the data of the ControllerRevision that `needed_revision` names. `current`: the
    entries that the ConfigMap holds now; one of them stays if its ControllerRevision is gone, or if its namespace is
    one of `unreadable`: that a right is missing is no reason to take features away. Of one name in two namespaces the
    older is served, even while it has nothing to serve: a name does not change hands because of a typo.
    """
    held = {_key(one): one for one in current}
    found = [one for key, one in held.items() if key[0] in unreadable]
    winners = {one["metadata"]["name"]: _key(one) for one in found}
    living = [one for one in resources if not one["metadata"].get("deletionTimestamp")]
    for resource in sorted(living, key=_age):
        winners.setdefault(resource["metadata"]["name"], _key(resource))
    for resource in living:
        key = _key(resource)
        if winners[resource["metadata"]["name"]] != key or not _is_admitted(resource):
            continue
        if needed_revision(resource) is None:
            found.append(entry(resource))
        elif "/".join(key) in last_valid:
            found.append(entry(with_spec_of(resource, last_valid["/".join(key)], 0)))
        elif key in held:
            found.append(held[key])
    return tuple(sorted(found, key=_key))


def name_conflict(resource: Object, claims: Sequence[Claim]) -> Verdict | None:
    """Features are read by the FeatureSet's name alone, so a name is served once."""
    meta = resource["metadata"]
    for claim in claims:
        same = claim.name == meta["name"] and claim.namespace != meta["namespace"]
        if same and not claim.deleting and is_later(resource, claim):
            message = (
                f"the older FeatureSet {claim.namespace}/{claim.name} is served under this name; give this one"
                " another name, or delete the other"
            )
            return Verdict("False", "NameConflict", message)
    return None


def configured_verdict(
    resource: Object, effective: Object | None, admitted: bool, seen: ServingSeen, claims: Sequence[Claim]
) -> Verdict:
    """Whether every pod that answers for features runs what this FeatureSet says."""
    conflict = name_conflict(resource, claims)
    if conflict is not None:
        return conflict
    if effective is None:
        return Verdict("Unknown", "NoVersion", "there is no valid spec yet")
    if not admitted:
        return Verdict("False", "WaitingForTopics", "features are served as soon as the topics are there")
    if seen.entries.get("/".join(_key(resource))) != entry_hash(entry(effective)):
        if seen.error is not None:
            return Verdict("False", "ConfigTooLarge", seen.error)
        return Verdict("False", "WaitingForAck", "the serving configuration is being written")
    if not seen.pods:
        return Verdict("False", "NoServingPods", "no serving or ingest pod runs in the operator's namespace")
    waiting = sorted(name for name, runs in seen.pods.items() if runs != seen.hash)
    if not waiting or (_was_acked(resource) and all(seen.pods[name] is not None for name in waiting)):
        return Verdict("True", "Acked", "every serving and ingest pod runs this version")
    more = f" and {len(waiting) - _NAMED} more" if len(waiting) > _NAMED else ""
    message = f"not yet run by {', '.join(waiting[:_NAMED])}{more}"
    return Verdict("False", "WaitingForAck", message)


def serving_verdict(resource: Object, current: bool, seen: ServingSeen, claims: Sequence[Claim]) -> Verdict:
    """Whether some version of this FeatureSet is answered by some pod. `current`: it is the spec that was applied.

    Once true it stays so while a pod answers at all: a change of another FeatureSet does not unserve this one.
    """
    conflict = name_conflict(resource, claims)
    if conflict is not None:
        return conflict
    was = condition(resource.get("status") or {}, "Serving").get("status") == "True"
    removed = was and seen.hash is None  # somebody deleted the ConfigMap: pods go on with what they have read
    if "/".join(_key(resource)) not in seen.entries and not removed:
        return Verdict("False", "NoVersion", "no version is in the serving configuration")
    if any(runs is not None and (was or runs == seen.hash) for runs in seen.pods.values()):
        if current:
            return Verdict("True", "CurrentVersion", "the version of the spec is served")
        return Verdict("True", "LastValidVersion", "the last valid version is served")
    return Verdict("False", "NoVersion", "no serving pod answers for it")


def _was_acked(resource: Object) -> bool:
    """Whether all pods have run this generation before; what they run since then differs in other FeatureSets."""
    old = condition(resource.get("status") or {}, "ServingConfigured")
    return bool(old.get("status") == "True" and old.get("observedGeneration") == resource["metadata"].get("generation"))


def _is_admitted(resource: Object) -> bool:
    versions = (resource.get("status") or {}).get("versions") or ()
    return any(one.get("state") not in (None, "Pending") for one in versions)


def _key(resource: Object) -> tuple[str, str]:
    return resource["metadata"]["namespace"], resource["metadata"]["name"]


def _age(resource: Object) -> tuple[str, str, str]:
    return (str(resource["metadata"].get("creationTimestamp") or ""), *_key(resource))
