"""A small cluster in memory: it does what plans say, and moves on as Kubernetes, Kafka and serving would."""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass, field, replace
from typing import Any

from freshet.spec.resource import featureset_of
from freshet_operator import names
from freshet_operator.desired.serving import entry_hash, serving_config
from freshet_operator.model import (
    Claim,
    Figures,
    KafkaSeen,
    Object,
    Observed,
    Plan,
    ServingSeen,
    TopicSeen,
    Work,
    Write,
)
from freshet_operator.plan import needed_revision, plan, served_entries
from freshet_operator.settings import Settings
from tests.operator.pure import NOW, featureset, settings

REVISION = featureset_of(featureset()).definition.revision
DEPLOYMENT = ("Deployment", f"clicks-{REVISION}")
_KEYS = ("mountPath", "name", "uid", "topologyKey", "containerPort")


@dataclass
class World:
    """One FeatureSet and its surroundings."""

    resource: Object
    settings: Settings = field(default_factory=settings)
    now_ms: int = NOW
    children: dict[tuple[str, str], Object] = field(default_factory=dict)
    pods: list[Object] = field(default_factory=list)
    topics: dict[str, TopicSeen] = field(default_factory=dict)
    groups: set[str] = field(default_factory=set)
    lag: int | None = 0
    kafka_error: str | None = None
    figures: Figures | None = None
    rebuilding: set[int] = field(default_factory=set)
    stopped: dict[int, str] = field(default_factory=dict)
    silent: bool = False
    """Processors do not answer."""
    claims: tuple[Claim, ...] = ()
    entries: tuple[Object, ...] = ()
    serving_pods: dict[str, str | None] = field(default_factory=dict)
    terminating: bool = False
    gone: bool = False
    """The finalizer went while it was being deleted."""
    written: list[str] = field(default_factory=list)
    _uids: Any = field(default_factory=itertools.count)

    def observe(self) -> Observed:
        """A copy of everything: plans must not change what they look at."""
        entries = {f"{e['metadata']['namespace']}/{e['metadata']['name']}": entry_hash(e) for e in self.entries}
        text = serving_config(self.entries, self.settings)[1] if self.entries else None
        return Observed(
            resource=copy.deepcopy(self.resource),
            children=tuple(copy.deepcopy(item) for item in self.children.values()),
            pods=(*copy.deepcopy(self.pods), *self._processors()),
            kafka=KafkaSeen(error=self.kafka_error) if self.kafka_error else KafkaSeen(dict(self.topics), self.lag),
            claims=self.claims,
            serving=ServingSeen(entries, text, dict(self.serving_pods)),
            figures=self.figures,
            work=self._work(),
            namespace_terminating=self.terminating,
        )

    def _processors(self) -> list[Object]:
        """A pod for each processor that a Deployment has."""
        found = []
        for (kind, name), item in self.children.items():
            for number in range((item.get("status") or {}).get("availableReplicas", 0) if kind == "Deployment" else 0):
                ready = {"type": "Ready", "status": "False" if self.stopped else "True"}
                found.append(
                    {
                        "metadata": {**item["metadata"], "name": f"{name}-{number}"},
                        "spec": {"containers": []},
                        "status": {
                            "phase": "Running",
                            "conditions": [{**ready, "lastTransitionTime": "2026-01-05T10:00:00Z"}],
                        },
                    }
                )
        return found

    def _work(self) -> dict[str, Work]:
        """The partitions, shared among them."""
        pods = [] if self.silent else [pod["metadata"]["name"] for pod in self._processors()]
        parts = {name: set(range(number, 6, len(pods))) for number, name in enumerate(pods)}
        return {
            name: Work(
                frozenset(part - set(self.stopped)),
                frozenset(part & self.rebuilding),
                {number: why for number, why in self.stopped.items() if number in part},
            )
            for name, part in parts.items()
        }

    def plan(self) -> Plan:
        """What the operator would do now."""
        before = self.observe()
        kept = copy.deepcopy(before)
        found = plan(before, self.settings, self.now_ms)
        assert before == kept, "the plan changed what it looked at"
        return found

    def apply(self, planned: Plan) -> None:
        """Does it."""
        for write in planned.writes:
            self.do(write)
        self.resource["status"] = copy.deepcopy(planned.status)

    def step(self) -> Plan:
        """One reconcile."""
        planned = self.plan()
        self.apply(planned)
        return planned

    def rest(self, most: int = 8) -> Plan:
        """Reconciles in surroundings that stand still until nothing is left to do."""
        for _ in range(most):
            before = self.resource.get("status")
            planned = self.step()
            if not planned.writes and planned.status == before:
                return planned
        raise AssertionError(f"no end: {[w.what for w in planned.writes]} {planned.status}")

    def settle(self) -> Plan:
        """Reconciles while the surroundings move on, until nothing changes any more."""
        for _ in range(12):
            before = self.resource.get("status")
            planned = self.step()
            self.live()
            if not planned.writes and planned.status == before:
                return planned
        raise AssertionError(f"no end: {[w.what for w in planned.writes]} {planned.status}")

    def live(self, ready: bool = True) -> None:
        """Kubernetes starts pods, Jobs end, serving reads its configuration; deployments that are gone have no pods."""
        self.pods = [pod for pod in self.pods if any(k == "Deployment" for k, _ in self.children)]
        for (kind, _), item in self.children.items():
            if kind == "Deployment":
                count = item["spec"]["replicas"] if ready else 0
                totals = {"replicas": item["spec"]["replicas"], "updatedReplicas": item["spec"]["replicas"]}
                item["status"] = {
                    **totals,
                    "observedGeneration": item["metadata"]["generation"],
                    "readyReplicas": count,
                    "availableReplicas": count,
                }
            if kind == "Job":
                item["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
        self.configure()

    def configure(self) -> None:
        """The serving configuration is made anew, and every pod runs it."""
        last = {}
        needed = needed_revision(self.resource)
        if ("ControllerRevision", needed or "") in self.children:
            meta = self.resource["metadata"]
            last[f"{meta['namespace']}/{meta['name']}"] = self.children["ControllerRevision", needed or ""]["data"]
        self.entries = served_entries([] if self.gone else [self.resource], last, self.entries)
        text = serving_config(self.entries, self.settings)[1]
        self.serving_pods = dict.fromkeys(self.serving_pods or ("serving-1", "ingest-1"), text)

    def do(self, write: Write) -> None:
        """One write."""
        self.written.append(f"{write.verb} {write.what}")
        meta = self.resource["metadata"]
        match write.verb:
            case "apply":
                assert write.object is not None
                self._apply(write.object)
            case "delete":
                assert write.object is not None
                key = (write.object["kind"], write.object["metadata"]["name"])
                assert self.children[key]["metadata"]["uid"] == write.object["metadata"]["uid"]
                del self.children[key]
            case "create-topic":
                assert write.topic is not None
                assert write.topic.manage
                config = dict(write.topic.config)
                self.topics[write.topic.name] = TopicSeen(
                    write.topic.name,
                    write.topic.partitions,
                    f"id-{write.topic.name}",
                    config.get("message.timestamp.type"),
                    int(config["retention.ms"]),
                )
            case "delete-topic":
                self.topics.pop(write.name, None)
            case "delete-group":
                self.groups.discard(write.name)
            case "add-finalizer":
                meta["finalizers"] = [*meta.get("finalizers", []), names.FINALIZER]
            case "remove-finalizer":
                meta["finalizers"] = [name for name in meta["finalizers"] if name != names.FINALIZER]
                self.gone = "deletionTimestamp" in meta

    def _apply(self, intent: Object) -> None:
        key = (intent["kind"], intent["metadata"]["name"])
        old = self.children.get(key)
        if old is None:
            made = {"uid": f"made-{next(self._uids)}", "generation": 0}
            old = {"metadata": made}
        new = merge(old, intent)
        if new.get("spec") != old.get("spec"):
            new["metadata"]["generation"] += 1
        self.children[key] = new

    def claim(self, **changes: Any) -> Claim:
        """Another FeatureSet that uses nothing."""
        return replace(Claim("elsewhere", "other", "2025-01-01T00:00:00Z", ()), **changes)


def merge(live: Any, intent: Any) -> Any:
    """About what server-side apply with force does."""
    if isinstance(intent, dict) and isinstance(live, dict):
        return {**live, **{name: merge(live.get(name), value) for name, value in intent.items()}}
    if isinstance(intent, list) and isinstance(live, list):
        key = next((k for k in _KEYS if intent and all(isinstance(i, dict) and k in i for i in intent)), None)
        if key is not None:
            there = {one[key]: one for one in live if isinstance(one, dict) and key in one}
            new = {one[key]: merge(there.get(one[key]), one) for one in intent}
            return [*new.values(), *(one for name, one in there.items() if name not in new)]
    return copy.deepcopy(intent)


def served(spec: Object | None = None, **metadata: Any) -> World:
    """A FeatureSet that has been brought up."""
    world = World(featureset(spec, **metadata))
    world.settle()
    assert world.resource["status"]["phase"] == "Serving", world.resource["status"]
    return world


def whats(world: World) -> list[str]:
    """What the next plan writes."""
    return [f"{write.verb} {write.what}" for write in world.plan().writes]
