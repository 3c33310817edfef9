"""One reconcile of a FeatureSet, decided: writes, the whole new status, events and when to look again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from freshet.spec.manifest import ProcessorModel
from freshet_operator import names
from freshet_operator.desired import desired
from freshet_operator.desired.serving import entry_hash
from freshet_operator.model import Desired, Event, Object, Observed, Plan, Write
from freshet_operator.plan.children import ChildWrites, child_writes, find
from freshet_operator.plan.conditions import Verdict, condition, merged, shortened
from freshet_operator.plan.deletion import deletion_plan
from freshet_operator.plan.effective import Choice, Effective, choose, is_paused, served_revision
from freshet_operator.plan.events import transitions
from freshet_operator.plan.partitions import backfill_verdict
from freshet_operator.plan.pods import is_settled, processor_pods, processor_verdict
from freshet_operator.plan.scaling import Scaling, remembered, scale
from freshet_operator.plan.served import configured_verdict, name_conflict, serving_verdict
from freshet_operator.plan.summary import SUSPENDED, Facts, Summary, summarise
from freshet_operator.plan.times import time_ms
from freshet_operator.plan.topics import topics_verdict
from freshet_operator.settings import Settings

IDLE_SECONDS = 20.0
"""Between two looks when nothing happens: an outage of Kafka must show within 30 s."""
BUSY_SECONDS = 1.0
"""Between two looks right after a change; more and more afterwards."""


def plan(observed: Observed, settings: Settings, now_ms: int) -> Plan:
    """What to do about a FeatureSet. `now_ms`: since 1970.

    Done as it says, and looked at again with nothing else changed, the next plan has no writes and the same status.
    """
    resource = observed.resource
    if resource["metadata"].get("deletionTimestamp"):
        return deletion_plan(observed, settings, now_ms)
    choice = choose(resource, observed.children, is_paused(resource))
    if choice.effective is None:
        return _without_spec(observed, choice, now_ms)
    return _with_spec(_Look(observed, settings, now_ms, choice, choice.effective))


@dataclass(frozen=True, slots=True)
class _Look:
    """What one plan is made from."""

    observed: Observed
    settings: Settings
    now_ms: int
    choice: Choice
    effective: Effective

    @property
    def resource(self) -> Object:
        return self.observed.resource

    @property
    def before(self) -> Object:
        return self.observed.resource.get("status") or {}

    @property
    def paused(self) -> bool:
        return is_paused(self.resource)

    @property
    def suspended(self) -> bool:
        return bool(self.effective.resource["spec"].get("suspend", False))

    @property
    def revision(self) -> str:
        return self.effective.featureset.definition.revision

    @property
    def processor(self) -> ProcessorModel:
        return ProcessorModel.model_validate(self.effective.resource["spec"].get("processor") or {})

    @property
    def pods(self) -> tuple[Object, ...]:
        """Of the revision."""
        return processor_pods(self.observed.pods, self.revision)

    @property
    def deployment(self) -> Object | None:
        name = names.child(self.effective.featureset.name, self.revision)
        return find(self.observed.children, self.resource, "Deployment", name)


def _with_spec(look: _Look) -> Plan:
    observed, effective = look.observed, look.effective
    backfill = _backfill(look)
    scaled = _scaling(look, backfill)
    wanted = desired(effective.featureset, effective.resource, look.settings, 0 if look.suspended else scaled.replicas)
    topics, create = topics_verdict(effective.featureset, wanted.topics, observed.kafka, observed.claims, look.resource)
    changes = child_writes(look.resource, wanted.objects, observed.children)
    parts = {"TopicsReady": topics, "ProcessorReady": _processors(look, changes), "BackfillComplete": backfill}
    state = _state(look, parts)
    parts["ServingConfigured"] = configured_verdict(
        look.resource, effective.resource, state != "Pending", observed.serving, observed.claims
    )
    current = look.choice.problem is None
    parts["Serving"] = serving_verdict(look.resource, current, observed.serving, observed.claims)
    rolling = bool(changes.writes) or not is_settled(look.deployment)
    summary = _summary(look, parts, rolling)
    status = _status(look, summary, wanted, scaled, state)
    writes: tuple[Write, ...] = ()
    if not look.paused and not observed.namespace_terminating:
        made = tuple(Write("create-topic", f"topic {topic.name}", topic=topic) for topic in create)
        writes = (*_finalizer(look.resource), *made, *changes.writes)
    events = (*_scaled_event(look, scaled), *transitions(look.before, status["conditions"]))
    seconds = _requeue(status, look.now_ms, settled=not writes and summary.phase in ("Serving", "Suspended", "Paused"))
    return Plan(writes, status, events, seconds, _serving_changed(look, wanted, state))


def _summary(look: _Look, parts: dict[str, Verdict], rolling: bool) -> Summary:
    facts = Facts(
        problem=look.choice.problem,
        paused=look.paused,
        suspended=look.suspended,
        served=bool(served_revision(look.resource)),
        rolling=rolling,
        version=look.effective.featureset.version,
    )
    return summarise(parts, facts)


def _scaling(look: _Look, backfill: Verdict) -> Scaling:
    """Kept as it is while nothing is to be changed."""
    live = look.deployment
    before = remembered(look.before.get("scaling"), None if live is None else live["spec"].get("replicas"))
    if before is not None and (look.paused or look.suspended or look.observed.namespace_terminating):
        return before
    kafka, figures = look.observed.kafka, look.observed.figures
    lag = None if kafka.error is not None else kafka.lag
    busy = None if figures is None else figures.busy
    partitions = look.effective.featureset.source.partitions
    return scale(
        look.processor,
        partitions,
        before,
        look.now_ms,
        settled=is_settled(live),
        built=backfill.is_true,
        lag=lag,
        busy=busy,
    )


def _scaled_event(look: _Look, scaled: Scaling) -> tuple[Event, ...]:
    before = remembered(look.before.get("scaling"), None)
    if before is None or before.replicas == scaled.replicas:
        return ()
    return (Event("Normal", "Scaled", f"from {before.replicas} to {scaled.replicas} processors: {scaled.why}"),)


def _processors(look: _Look, changes: ChildWrites) -> Verdict:
    if changes.taken:
        message = (
            f"{', '.join(changes.taken)} belongs to somebody else; if that is a FeatureSet of this name that was"
            " deleted, wait until it is gone, else remove or rename it"
        )
        return Verdict("False", "NameTaken", message)
    if look.suspended:
        return SUSPENDED
    secret = look.settings.processor.secret
    return processor_verdict(look.deployment, look.pods, look.observed.work, secret, look.now_ms)


def _backfill(look: _Look) -> Verdict:
    names_of = {pod["metadata"]["name"] for pod in look.pods}
    work = {name: said for name, said in look.observed.work.items() if name in names_of}
    old = _old_version(look)
    done = old.get("state") == "Serving" and old.get("revision") == look.revision
    return backfill_verdict(work, look.effective.featureset.source.partitions, look.before, done)


def _old_version(look: _Look) -> Object:
    versions: list[Object] = look.before.get("versions") or [{}]
    return versions[0]


def _state(look: _Look, parts: dict[str, Verdict]) -> str:
    """Pending until its topics were there, CatchingUp, Serving; a version never goes back."""
    old = _old_version(look)
    state = str(old.get("state") or "Pending") if old.get("revision") == look.revision else "Pending"
    if state == "Pending" and parts["TopicsReady"].is_true:
        state = "CatchingUp"
    if state == "CatchingUp" and parts["BackfillComplete"].is_true:
        state = "Serving"
    return state


def _status(look: _Look, summary: Summary, wanted: Desired, scaled: Scaling, state: str) -> Object:
    resource, featureset, kafka = look.resource, look.effective.featureset, look.observed.kafka
    generation = int(resource["metadata"].get("generation", 0))
    ready = int(((look.deployment or {}).get("status") or {}).get("readyReplicas") or 0)
    topics = [
        {"name": t.name, "partitions": seen.partitions, "id": seen.topic_id, "managed": t.manage}
        for t in wanted.topics
        if (seen := kafka.topics.get(t.name)) is not None
    ]
    figures = look.observed.figures
    fields: dict[str, Any] = {
        "observedGeneration": generation,
        "phase": summary.phase,
        "version": str((resource.get("spec") or {}).get("version", featureset.version)),
        "serving": _serving(look, summary),
        "lastValid": _last_valid(look, wanted),
        "versions": [
            {
                "version": featureset.version,
                "revision": look.revision,
                "state": state,
                "replicas": 0 if look.suspended else scaled.replicas,
                "readyReplicas": ready,
            }
        ],
        "topics": look.before.get("topics") if kafka.error is not None else topics,
        "lag": None if kafka.error is not None else kafka.lag,
        "freshness": None if figures is None else freshness_text(figures.freshness_ms),
        "replicas": ready,
        "scaling": scaled.memory(),
        "reason": summary.reason,
        "message": shortened(summary.message),
        "conditions": merged(look.before, summary.verdicts, generation, look.now_ms),
    }
    return {name: value for name, value in fields.items() if value is not None}


def _serving(look: _Look, summary: Summary) -> Object | None:
    """What is served; the new version's name from when every pod runs it."""
    before: Object | None = look.before.get("serving") or None
    if not summary.verdicts["Serving"].is_true or (before and not summary.verdicts["ServingConfigured"].is_true):
        return before
    return {"version": look.effective.featureset.version, "revision": look.revision}


def _last_valid(look: _Look, wanted: Desired) -> Object | None:
    if look.paused:
        return look.before.get("lastValid")
    generation = int(look.effective.resource["metadata"].get("generation", 0))
    return {"name": wanted.objects[0]["metadata"]["name"], "generation": generation}


def _serving_changed(look: _Look, wanted: Desired, state: str) -> bool:
    meta = look.resource["metadata"]
    have = look.observed.serving.entries.get(f"{meta['namespace']}/{meta['name']}")
    if state == "Pending" or name_conflict(look.resource, look.observed.claims) is not None:
        return have is not None
    return wanted.entry is not None and have != entry_hash(wanted.entry)


def _finalizer(resource: Object) -> tuple[Write, ...]:
    """Only deletionPolicy Delete needs one."""
    wanted = (resource.get("spec") or {}).get("deletionPolicy") == "Delete"
    there = names.FINALIZER in (resource["metadata"].get("finalizers") or ())
    if wanted == there:
        return ()
    return (Write("add-finalizer" if wanted else "remove-finalizer", f"FeatureSet {resource['metadata']['name']}"),)


def _without_spec(observed: Observed, choice: Choice, now_ms: int) -> Plan:
    """No spec can be used: nothing is made, changed or removed; what is known of the parts stays as it was."""
    resource = observed.resource
    before: Object = resource.get("status") or {}
    generation = int(resource["metadata"].get("generation", 0))
    problem = choice.problem or Verdict("False", "InvalidSpec", "the spec cannot be used")
    unknown = Verdict("Unknown", "NoValidSpec", "there is no valid spec yet")
    parts = {
        name: unknown
        for name in ("TopicsReady", "ProcessorReady", "BackfillComplete", "ServingConfigured")
        if not condition(before, name)
    }
    parts["Serving"] = serving_verdict(resource, False, observed.serving, observed.claims)
    served = bool(served_revision(resource))
    summary = summarise(parts, Facts(problem, is_paused(resource), False, served, False, ""))
    status = {
        **before,
        "observedGeneration": generation,
        "phase": summary.phase,
        "version": str((resource.get("spec") or {}).get("version", "")),
        "reason": summary.reason,
        "message": shortened(summary.message),
        "conditions": merged(before, summary.verdicts, generation, now_ms),
    }
    return Plan((), status, transitions(before, status["conditions"]), _requeue(status, now_ms, settled=True))


def _requeue(status: Object, now_ms: int, *, settled: bool) -> float:
    """Soon after a change, then ever more seldom: what changes in the cluster wakes the operator anyway."""
    if settled:
        return IDLE_SECONDS
    changes = [time_ms(one.get("lastTransitionTime")) or 0 for one in status["conditions"]]
    age = max(0.0, (now_ms - max(changes, default=0)) / 1000)
    return min(IDLE_SECONDS, max(BUSY_SECONDS, age / 4))


def freshness_text(ms: float | None) -> str | None:
    """`113ms`, `2.4s` or `5m`; None where nothing was measured."""
    if ms is None:
        return None
    if ms < 1000:
        return f"{round(ms)}ms"
    return f"{ms / 1000:.1f}s" if ms < 120_000 else f"{round(ms / 60_000)}m"
