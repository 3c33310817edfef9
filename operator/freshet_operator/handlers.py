"""kopf as the shell: login, discovery, list, watch, reconnect. Its handlers only tell the router; kopf swallows their
errors and never repeats them, so nothing else may happen here.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import kopf

from freshet_operator import metrics
from freshet_operator.api.kinds import CHILDREN, EXPERIMENT, FEATURESET, POD, Kind
from freshet_operator.login import login
from freshet_operator.model import Object
from freshet_operator.names import FINALIZER, GROUP, LABEL_FEATURESET
from freshet_operator.observe.snapshot import OURS
from freshet_operator.router import Router

Told = Callable[[Object, bool], None]

IDENTITY: Any = "freshet-operator"
"""Peering is off, but kopf makes a name of the user's, and a container's numeric user has none."""


def registry(router: Router) -> kopf.OperatorRegistry:
    """Handlers for our resources and for everything that carries our labels."""
    found = kopf.OperatorRegistry()

    async def credentials(**_: Any) -> kopf.ConnectionInfo:
        return login()

    kopf.on.login(registry=found, id="login", retries=None)(credentials)
    for kind in (FEATURESET, EXPERIMENT):
        _watch(found, kind, router.resource)
    for kind in (*CHILDREN, POD):
        _watch(found, kind, router.child)
    return found


def _watch(found: kopf.OperatorRegistry, kind: Kind, told: Told) -> None:
    seen = metrics.WATCH_EVENT_TIME.labels(kind.kind)

    async def on_event(event: Any, **_: Any) -> None:
        seen.set(time.time())
        item = {**event["object"], "apiVersion": kind.api_version, "kind": kind.kind}
        told(item, event["type"] == "DELETED")

    group, version = _group_version(kind)
    kopf.on.event(group=group, version=version, plural=kind.plural, registry=found, id=f"see-{kind.plural}")(on_event)


def settings() -> kopf.OperatorSettings:
    """kopf's settings; each number's reason is a way that operators went blind, died or stormed."""
    found = kopf.OperatorSettings()
    found.peering.standalone = True  # the Lease is the lock
    found.scanning.disabled = True  # no right to list CRDs or namespaces is needed
    found.posting.enabled = False
    found.persistence.finalizer = f"{FINALIZER}-kopf"  # never set: no handler needs one
    found.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=f"kopf.{GROUP}")
    found.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=f"kopf.{GROUP}")
    found.watching.server_timeout = 300
    found.watching.client_timeout = 330
    found.watching.connect_timeout = 10
    found.watching.inactivity_timeout = 70
    found.watching.chunk_size = 50  # kopf has a task and a body for each object of a chunk, and memory never shrinks
    for kind in (*CHILDREN, POD):
        selector = LABEL_FEATURESET if kind is POD else OURS
        found.watching.label_selectors[(*_group_version(kind), kind.plural)] = selector
    found.networking.request_timeout = 15
    found.networking.connect_timeout = 5
    found.networking.error_backoffs = [
        seconds * random.uniform(0.8, 1.2)  # noqa: S311  # spreads replicas, no secret
        for seconds in (0.5, 1, 1, 2, 3, 5, 8, 10, 15, 15, 15, 15, 15, 15)
    ]
    found.queueing.worker_limit = None
    found.queueing.idle_timeout = 0.05  # a task that waits for more events of its object holds the last one
    found.execution.max_workers = 8
    found.process.ultimate_exiting_timeout = 30
    return found


async def run(router: Router, namespaces: tuple[str, ...], stop: Any, ready: Any) -> None:
    """Watches until `stop` is set. Ends, or raises, when a watch cannot go on: the process has to start anew."""
    await kopf.operator(
        registry=registry(router),
        settings=settings(),
        standalone=True,
        identity=IDENTITY,
        clusterwide=not namespaces,
        namespaces=list(namespaces),
        stop_flag=stop,
        ready_flag=ready,
    )


def _group_version(kind: Kind) -> tuple[str, str]:
    group, _, version = kind.api_version.rpartition("/")
    return group, version
