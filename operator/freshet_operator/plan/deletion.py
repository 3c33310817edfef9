"""The end of a FeatureSet whose deletionPolicy is Delete: processors, keys, topics, group; and no wait for ever.

Without our finalizer there is nothing to do: children go with their owner, data stays.
"""

from __future__ import annotations

from dataclasses import dataclass

from freshet.spec.naming import consumer_group, rekey_group
from freshet_operator import names
from freshet_operator.desired import wanted_topics
from freshet_operator.desired.purge import purge_job
from freshet_operator.model import Event, Object, Observed, Plan, Write
from freshet_operator.plan.children import delete, what
from freshet_operator.plan.conditions import Verdict, merged, shortened
from freshet_operator.plan.effective import Effective, choose, is_ours
from freshet_operator.plan.events import transitions
from freshet_operator.plan.pods import processor_pods
from freshet_operator.plan.times import time_ms
from freshet_operator.settings import Settings

_SECONDS = 2.0
_KUBERNETES_CLEANS = 30.0
_PROCESSORS = ("Deployment", "PodDisruptionBudget")


@dataclass(frozen=True, slots=True)
class _Step:
    """What is done now, and what is waited for."""

    writes: tuple[Write, ...]
    message: str
    released: bool = False


def deletion_plan(observed: Observed, settings: Settings, now_ms: int) -> Plan:
    """What to do about a FeatureSet that is being deleted; every step may be repeated."""
    meta = observed.resource["metadata"]
    in_configuration = f"{meta['namespace']}/{meta['name']}" in observed.serving.entries
    if names.FINALIZER not in (meta.get("finalizers") or ()):
        step = _Step((), "Kubernetes removes the processors; data stays")
        return _plan(observed, step, (), now_ms, _KUBERNETES_CLEANS, in_configuration)
    abandoned = _abandoned(observed, settings, now_ms)
    if abandoned is not None:
        step = _Step((_release(observed.resource),), abandoned, released=True)
        warning = Event("Warning", "CleanupAbandoned", abandoned)
        return _plan(observed, step, (warning,), now_ms, _SECONDS, in_configuration)
    if (observed.resource.get("spec") or {}).get("deletionPolicy") != "Delete":
        step = _Step((_release(observed.resource),), "deletionPolicy is Retain: data stays", released=True)
        return _plan(observed, step, (), now_ms, _SECONDS, in_configuration)
    # A paused FeatureSet is cleaned up like any other: a deletion is the later wish.
    effective = choose(observed.resource, observed.children, paused=True).effective
    step = _step(observed, settings, effective)
    events = (Event("Normal", "CleanedUp", step.message),) if step.released else ()
    return _plan(observed, step, events, now_ms, _SECONDS, in_configuration)


def _abandoned(observed: Observed, settings: Settings, now_ms: int) -> str | None:
    """Why the rest of the data is left behind; None: it is not."""
    meta = observed.resource["metadata"]
    left = "keys, topics and the consumer group may be left"
    if observed.namespace_terminating:
        return f"the namespace is being deleted, so no Job can run in it: {left}"
    if (meta.get("annotations") or {}).get(names.ABANDON) == "true":
        return f"the annotation {names.ABANDON} is set: {left}"
    since = time_ms(meta["deletionTimestamp"])
    if since is None or now_ms - since > settings.cleanup_deadline_seconds * 1000:
        return f"the cleanup did not end in {settings.cleanup_deadline_seconds:.0f} s: {left}"
    return None


def _step(observed: Observed, settings: Settings, effective: Effective | None) -> _Step:
    mine = [item for item in observed.children if is_ours(observed.resource, item)]
    running = [item for item in mine if item["kind"] in _PROCESSORS]
    pods = processor_pods(observed.pods, ending=True)  # one that ends may still write keys
    stop = tuple(delete(item) for item in running if not item["metadata"].get("deletionTimestamp"))
    if running or pods:
        return _Step(stop, "waiting for the processors to end")
    if effective is None:
        message = "no valid spec was ever applied: there is nothing to clean up"
        return _Step((_release(observed.resource),), message, released=True)
    return _purge(observed, settings, effective, mine) or _kafka(observed, settings, effective)


def _purge(observed: Observed, settings: Settings, effective: Effective, mine: list[Object]) -> _Step | None:
    """A Job for each revision that may have keys; None when all have succeeded."""
    jobs = {item["metadata"]["name"]: item for item in mine if item["kind"] == "Job"}
    make: list[Write] = []
    waiting: list[str] = []
    for revision in _revisions(observed, effective):
        name = names.purge_job(observed.resource["metadata"]["name"], revision)
        job = jobs.get(name)
        if job is None:
            item = purge_job(observed.resource, settings, revision, effective.featureset.source.partitions)
            make.append(Write("apply", what(item), object=item))
        if job is None or not _is(job, "Complete"):
            failed = job is not None and _is(job, "Failed")
            waiting.append(f"{name} (failed: see its log)" if failed else name)
    return _Step(tuple(make), f"waiting for Job {', '.join(waiting)} to free the online keys") if waiting else None


def _kafka(observed: Observed, settings: Settings, effective: Effective) -> _Step:
    resource = observed.resource
    namespace, name = resource["metadata"]["namespace"], resource["metadata"]["name"]
    if observed.kafka.error is not None:
        return _Step((), f"waiting for Kafka, to delete topics: {observed.kafka.error}")
    used = {topic.name for claim in observed.claims if not claim.deleting for topic in claim.topics}
    used.add(settings.dead_letter_topic)  # other people's rejected events
    wanted = [topic.name for topic in wanted_topics(effective.featureset, settings) if topic.manage]
    gone = [topic for topic in wanted if topic not in used and not observed.unreadable]
    kept = [topic for topic in wanted if topic not in gone]
    groups = [consumer_group(namespace, name, revision) for revision in _revisions(observed, effective)]
    source = effective.featureset.source
    if source.origin is not None and source.topic in gone:
        groups.append(rekey_group(source.topic))  # its offsets say what was copied into the topic
    there = [topic for topic in gone if topic in observed.kafka.topics]
    writes = (
        *(Write("delete-topic", f"topic {topic}", name=topic) for topic in there),
        *(Write("delete-group", f"group {group}", name=group) for group in groups),
        _release(resource),
    )
    message = f"online keys and consumer group are deleted; topics deleted: {', '.join(gone) or 'none'}"
    why = "others use them"
    if observed.unreadable:
        why = f"others may use them in {', '.join(observed.unreadable)}, which cannot be read"
    others = f"; kept, because {why}: {', '.join(kept)}" if kept else ""
    return _Step(writes, message + others, released=True)


def _revisions(observed: Observed, effective: Effective) -> list[str]:
    versions = (observed.resource.get("status") or {}).get("versions") or ()
    found = {str(one["revision"]) for one in versions if one.get("revision")}
    return sorted(found | {effective.featureset.definition.revision})


def _release(resource: Object) -> Write:
    return Write("remove-finalizer", f"FeatureSet {resource['metadata']['name']}")


def _is(job: Object, type: str) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or ()
    return any(one.get("type") == type and one.get("status") == "True" for one in conditions)


def _plan(
    observed: Observed, step: _Step, events: tuple[Event, ...], now_ms: int, seconds: float, serving_changed: bool
) -> Plan:
    resource = observed.resource
    before: Object = resource.get("status") or {}
    generation = int(resource["metadata"].get("generation", 0))
    verdicts = {
        "Ready": Verdict("False", "Deleting", step.message),
        "Progressing": Verdict("True", "CleaningUp", step.message),
    }
    conditions = merged(before, verdicts, generation, now_ms)
    status = {
        **before,
        "observedGeneration": generation,
        "phase": "Deleting",
        "reason": "Deleting",
        "message": shortened(step.message),
        "conditions": conditions,
    }
    return Plan(step.writes, status, (*events, *transitions(before, conditions)), seconds, serving_changed)
