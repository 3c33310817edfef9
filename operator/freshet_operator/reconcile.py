"""One reconcile of a FeatureSet or an Experiment: observe, plan, apply, status, events."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field

from freshet_operator import metrics
from freshet_operator import status as statuses
from freshet_operator.api.client import Client
from freshet_operator.api.errors import ApiError
from freshet_operator.api.kinds import EXPERIMENT, FEATURESET
from freshet_operator.apply import Applier, Done
from freshet_operator.events import Recorder
from freshet_operator.model import Event, Key, Object, Plan
from freshet_operator.observe.observer import Observer
from freshet_operator.plan import IDLE_SECONDS, experiment_plan, plan
from freshet_operator.queue import WorkQueue
from freshet_operator.quiet import Quiet, fingerprint
from freshet_operator.settings import Settings

_log = logging.getLogger(__name__)


class Retry(Exception):
    """The reconcile did not get everything done; try again after the queue's backoff."""

    def __init__(self, message: str, least_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.least_seconds = least_seconds


@dataclass(slots=True)
class Reconciler:
    """Brings one resource to what its user asks for, as far as that is possible now."""

    settings: Settings
    client: Client
    queue: WorkQueue
    observer: Observer
    applier: Applier
    recorder: Recorder
    serving_key: Key
    _quiet: Quiet = field(default_factory=Quiet)
    _figures_written: dict[Key, float] = field(default_factory=dict)

    async def featureset(self, key: Key) -> float | None:
        """Seconds until the next look; None if the FeatureSet is gone. Raises ApiError, Retry, NotLeading."""
        observed = await self.observer.observe(key, self.queue.dirty_since(key), self.queue.depth)
        if observed is None:
            self.observer.forget(key)
            self._quiet.forget(key)
            self._figures_written.pop(key, None)
            metrics.CONDITIONS.forget(key.namespace, key.name)
            self.queue.add(self.serving_key)
            return None
        now_ms, now = int(time.time() * 1000), time.monotonic()
        seen = fingerprint(observed)
        if self._quiet.is_same(key, seen, now):
            return IDLE_SECONDS
        planned = plan(observed, self.settings, now_ms)
        self._quiet.planned(key, seen, observed, planned, now)
        done = await self.applier.apply(observed.resource, planned.writes)
        if done.writes or done.failure:
            self.queue.touch(key)
        if done.error is not None and done.error.namespace_terminating:
            self.observer.terminating(key.namespace)
        await self._finish(key, observed.resource, planned, done, now_ms)
        if planned.serving_changed:
            self.queue.add(self.serving_key, 0.1)
        return planned.requeue_after

    async def experiment(self, key: Key) -> float | None:
        """The same for an Experiment, which has nothing but a status yet."""
        resource = await self.client.get(EXPERIMENT, key.namespace, key.name)
        if resource is None:
            return None
        now_ms = int(time.time() * 1000)
        planned = experiment_plan(resource, now_ms)
        await self._finish(key, resource, planned, Done(), now_ms)
        return planned.requeue_after

    async def _finish(self, key: Key, resource: Object, planned: Plan, done: Done, now_ms: int) -> None:
        released = any(write.verb == "remove-finalizer" for write in planned.writes) and done.failure is None
        if not released:
            before = resource.get("status") or {}
            generation = int(resource["metadata"].get("generation") or 0)
            after = statuses.with_failures(planned.status, before, generation, done, now_ms)
            if key.kind == FEATURESET.kind:
                metrics.CONDITIONS.show(key.namespace, key.name, after.get("conditions") or ())
            await self._write_status(key, resource, before, after)
        failures = [*done.kafka_failures, *([done.failure] if done.failure else [])]
        for failed in failures:
            if not failed.transient:
                self.recorder.record(resource, Event("Warning", "WriteRefused", failed.message))
        if not failures:
            for event in planned.events:
                self.recorder.record(resource, event)
        else:
            least = done.error.retry_after if done.error is not None and done.error.retry_after else 0.0
            raise Retry("; ".join(failed.message for failed in failures), least)

    async def _write_status(self, key: Key, resource: Object, before: Object, after: Object) -> None:
        if not statuses.changed(before, after):
            return
        now = time.monotonic()
        # A new process knows no figures at first: to write that would be a write for each at every restart.
        last = self._figures_written.setdefault(key, now)
        lately = now - last < statuses.FIGURES_SECONDS
        if lately and statuses.only_figures_changed(before, after):
            return
        try:
            await self.applier.status(resource, after)
        except ApiError as error:
            if error.status != 404:  # deleted meanwhile
                raise
        self._figures_written[key] = now
        self.queue.touch(key)
