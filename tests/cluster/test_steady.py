"""Nothing to do: nothing is written, at rest and after a restart."""

from __future__ import annotations

import time

from tests.cluster.api import Api
from tests.cluster.conftest import LONG, Installer
from tests.cluster.installation import Installation
from tests.cluster.samples import featureset, typo

SETTLE_SECONDS = 12
IDLE_SECONDS = 600 if LONG else 30
NAMES = ("shop", "cart", "search")


def test_at_rest_and_after_a_restart_nothing_is_written(kube: Api, install: Installer) -> None:
    installation = install(pods=True)
    _fill(kube, installation)
    for name in NAMES:  # their image is nowhere: that is how they stay
        installation.wait_condition(name, "ProcessorReady", "False", "ImagePull", seconds=120)
    # The first lag comes with the second look at the figures, 30 s or more after the first.
    installation.until(lambda: all("lag" in installation.status(name) for name in NAMES), 90, "every lag is known")
    time.sleep(SETTLE_SECONDS)
    begun = time.monotonic()
    time.sleep(IDLE_SECONDS)
    assert _told(installation, begun) == []

    resting = {name: installation.status(name) for name in (*NAMES, "wrong")}
    assert installation.operator.stop() == 0
    begun = time.monotonic()
    installation.operator.start()
    installation.until(lambda: _looked(installation, begun), 20, "it has looked at everything")
    time.sleep(5)
    assert _told(installation, begun) == []
    assert {name: installation.status(name) for name in resting} == resting


def _fill(kube: Api, installation: Installation) -> None:
    for name in NAMES:
        kube.create(featureset(installation.namespace, name, f"{installation.namespace}-{name}"))
    kube.create(typo(featureset(installation.namespace, "wrong", f"{installation.namespace}-wrong")))
    for name in NAMES:
        installation.wait_condition(name, "TopicsReady", "True", seconds=60)
    installation.wait_condition("wrong", "Ready", "False", "InvalidSpec")


def _told(installation: Installation, since: float) -> list[str]:
    return [f"{seen.method} {seen.path} → {seen.status}" for seen in installation.proxy.writes(since)]


def _looked(installation: Installation, since: float) -> bool:
    """It lists the children in every look."""
    seen = installation.proxy.since(since)
    return sum("/deployments" in s.path and not s.is_watch for s in seen) >= len(NAMES)
