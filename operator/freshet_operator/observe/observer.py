"""One look at everything that concerns a FeatureSet."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from freshet_operator.api.kinds import FEATURESET, POD
from freshet_operator.interest import Interests
from freshet_operator.model import Key, Object, Observed
from freshet_operator.observe.children import ChildReader
from freshet_operator.observe.figures import Scraper
from freshet_operator.observe.kafka import Kafka
from freshet_operator.observe.serving import ServingReader
from freshet_operator.observe.work import WorkReader

_TERMINATING_SECONDS = 300.0
_JOB_LABEL = "batch.kubernetes.io/job-name"


class Observer:
    """Reads for one key at a time; what several keys share is read once for all."""

    def __init__(
        self,
        children: ChildReader,
        kafka: Kafka,
        serving: ServingReader,
        scraper: Scraper,
        work: WorkReader,
        interests: Interests,
        unreadable: tuple[str, ...] = (),
    ) -> None:
        self._children = children
        self._kafka = kafka
        self._serving = serving
        self._scraper = scraper
        self._work = work
        self._interests = interests
        self._unreadable = unreadable
        self._terminating: dict[str, float] = {}

    async def observe(self, key: Key, dirty_since: float, waiting: int) -> Observed | None:
        """The FeatureSet's world as it is now; None if there is no such FeatureSet. Raises ApiError."""
        items = await self._children.read(key, dirty_since, waiting)
        resource = next((item for item in items if item["kind"] == FEATURESET.kind), None)
        if resource is None:
            return None
        pods = tuple(item for item in items if item["kind"] == POD.kind and not _of_job(item))
        figures, work, serving = await asyncio.gather(
            self._scraper.figures(key, pods),
            self._work.work(key, pods),
            self._serving.seen(),
        )
        lag = None if figures is None else figures.lag
        kafka = await self._kafka.seen(self._interests.of(resource), running=lag is not None)
        if lag is not None and kafka.error is None:
            kafka = replace(kafka, lag=lag)
        return Observed(
            resource=resource,
            children=tuple(item for item in items if item["kind"] not in (FEATURESET.kind, POD.kind)),
            pods=pods,
            kafka=kafka,
            claims=self._interests.claims(key),
            serving=serving,
            figures=figures,
            work=work,
            namespace_terminating=self._is_terminating(key.namespace),
            unreadable=self._unreadable,
        )

    def terminating(self, namespace: str) -> None:
        """The API server has refused to make an object because the namespace is being deleted.

        That is how one learns of it without a right to read namespaces.
        """
        self._terminating[namespace] = time.monotonic()

    def forget(self, key: Key) -> None:
        """The FeatureSet is gone."""
        self._scraper.forget(key)
        self._work.forget(key)

    def _is_terminating(self, namespace: str) -> bool:
        since = self._terminating.get(namespace)
        if since is not None and time.monotonic() - since > _TERMINATING_SECONDS:
            del self._terminating[namespace]
            return False
        return since is not None


def _of_job(pod: Object) -> bool:
    return _JOB_LABEL in (pod["metadata"].get("labels") or {})
