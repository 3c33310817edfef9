"""The engine: queue, workers and the periodic list. Knows nothing of kopf."""

from __future__ import annotations

import asyncio
import logging
import random
import time

from freshet_operator import metrics
from freshet_operator.api.client import Client
from freshet_operator.api.errors import ApiError
from freshet_operator.api.kinds import EXPERIMENT, FEATURESET
from freshet_operator.apply import Applier, NotLeading
from freshet_operator.crash import WriteCounter
from freshet_operator.events import Recorder
from freshet_operator.interest import Interests
from freshet_operator.lease import Lease
from freshet_operator.model import Key, Object
from freshet_operator.observe.children import ChildReader
from freshet_operator.observe.figures import Scraper
from freshet_operator.observe.kafka import Kafka
from freshet_operator.observe.observer import Observer
from freshet_operator.observe.pods import PodClient
from freshet_operator.observe.serving import ServingReader
from freshet_operator.observe.work import WorkReader
from freshet_operator.queue import WorkQueue
from freshet_operator.reconcile import Reconciler, Retry
from freshet_operator.router import Router
from freshet_operator.scope import Scope
from freshet_operator.serving import ServingReconciler
from freshet_operator.settings import Settings
from freshet_operator.store import Store, remembered

_log = logging.getLogger(__name__)

RECONCILE_SECONDS = 120.0
"""A reconcile that takes longer is broken off and tried again."""
RELIST_SECONDS = 60.0


class Engine:
    """Everything between the watch and the API server. Made inside a running event loop."""

    def __init__(
        self, settings: Settings, client: Client, kafka: Kafka, lease: Lease, crash_at: str, scope: Scope
    ) -> None:
        self._settings = settings
        self._client = client
        self._namespaces = scope.lists
        self.queue = WorkQueue()
        self.store = Store()
        self._serving_key = Key("Serving", settings.own_namespace, settings.serving_config)
        self._kafka = kafka
        self._pods = PodClient()
        self._reader = ServingReader(client, self._pods, settings)
        self._interests = Interests(settings)
        self.router = Router(self.queue, self.store, self._interests, self._serving_key)
        self._recorder = Recorder(client, settings.identity)
        children = ChildReader(client, self._namespaces)
        port = settings.processor_metrics_port
        scraper, work = Scraper(self._pods, port), WorkReader(self._pods, port)
        observer = Observer(children, self._kafka, self._reader, scraper, work, self._interests, scope.unreadable)
        applier = Applier(client, self._kafka, lease.holds, WriteCounter(crash_at))
        self._reconciler = Reconciler(
            settings, client, self.queue, observer, applier, self._recorder, self._serving_key
        )
        self._serving = ServingReconciler(settings, client, self.queue, self._reader, applier, scope)
        self._tasks: list[asyncio.Task[None]] = []
        self._workers: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Lists everything once, so that claims are known, then starts to work. Raises ApiError."""
        await self.relist()
        self.queue.add(self._serving_key)
        self._workers = [asyncio.create_task(self._work()) for _ in range(self._settings.workers)]
        self._tasks = [asyncio.create_task(self._recorder.run()), asyncio.create_task(self._relist_forever())]

    async def stop(self, seconds: float) -> None:
        """Lets the reconciles in progress come to their end, for so long; a broken-off one is repeated later."""
        self.queue.close()
        end = time.monotonic() + seconds
        if self._workers:
            await asyncio.wait(self._workers, timeout=seconds)
        while self._recorder.waiting and time.monotonic() < end:
            await asyncio.sleep(0.05)
        for task in (*self._workers, *self._tasks):
            task.cancel()
        await asyncio.gather(*self._workers, *self._tasks, return_exceptions=True)
        await self._pods.close()

    async def relist(self) -> None:
        """Compares what is known with a complete list. Raises ApiError."""
        found: list[Object] = []
        for namespace in self._namespaces:
            for kind in (FEATURESET, EXPERIMENT):
                async for page in self._client.pages(kind, namespace):
                    for resource in page:
                        self._interests.learn(resource)
                        found.append(remembered(resource))
                        await asyncio.sleep(0)  # compiling a thousand specs must not keep the lease from being renewed
        self.router.listed(found)
        self._kafka.keep(self._interests.all())

    async def _relist_forever(self) -> None:
        while True:
            await asyncio.sleep(RELIST_SECONDS * random.uniform(0.9, 1.1))  # noqa: S311  # spreads replicas, no secret
            try:
                await self.relist()
            except ApiError as error:
                _log.warning("the resources cannot be listed: %s", error)

    async def _work(self) -> None:
        while (key := await self.queue.get()) is not None:
            began = time.monotonic()
            try:
                await self._one(key)
            finally:
                metrics.RECONCILE_SECONDS.labels(key.kind.lower()).observe(time.monotonic() - began)
                self.queue.done(key)

    async def _one(self, key: Key) -> None:
        """One reconcile. Whatever goes wrong, the key comes again and the worker lives."""
        name = key.kind.lower()
        about = {"kind": key.kind, "namespace": key.namespace, "name": key.name}
        least = 0.0
        try:
            async with asyncio.timeout(RECONCILE_SECONDS):
                after = await self._reconcile(key)
        except NotLeading as error:
            _log.error("not written, because this replica does not lead any more: %s", error)
            return
        except ApiError as error:
            least = error.retry_after or 0.0
            _log.warning("reconcile failed: %s", error, extra={"about": about})
        except Retry as error:
            least = error.least_seconds
            _log.warning("reconcile incomplete: %s", error, extra={"about": about})
        except TimeoutError:
            _log.error("reconcile broken off after %.0f s", RECONCILE_SECONDS, extra={"about": about})
        except Exception:
            _log.exception("reconcile failed", extra={"about": about})
        else:
            metrics.RECONCILES.labels(name, "success").inc()
            self._came_out_well(key, after)
            return
        metrics.RECONCILES.labels(name, "error").inc()
        metrics.RECONCILE_ERRORS.labels(name).inc()
        self.queue.retry(key, least)

    def _came_out_well(self, key: Key, after: float | None) -> None:
        self.queue.succeeded(key)
        if after is None:
            self.queue.forget(key)
            return
        jitter = random.uniform(0.9, 1.1) if after > 1 else 1.0  # noqa: S311  # spreads keys, no secret
        self.queue.add(key, min(after, self._settings.resync_seconds) * jitter, dirty=False)

    async def _reconcile(self, key: Key) -> float | None:
        if key.kind == "Serving":
            return await self._serving.reconcile(key)
        if key.kind == "Experiment":
            return await self._reconciler.experiment(key)
        return await self._reconciler.featureset(key)
