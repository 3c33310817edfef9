"""`freshet smoke` of a FeatureSet of another entity than its topic's key: its events are good ones for both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from freshet.dev.stack import Ports, Stack
from freshet.runtime.settings import KafkaSettings
from freshet.smoke.options import Options
from freshet.smoke.report import Status
from freshet.smoke.run import run
from tests.chaos.topics import read
from tests.integration.local import eventually
from tests.integration.test_smoke import ORDERS, failures, sentence, service, statuses

pytestmark = pytest.mark.server

CLERKS = """
apiVersion: freshet.dev/v1alpha1
kind: FeatureSet
metadata: {name: clerks}
spec:
  version: v1
  entity: {name: clerk, key: clerk}
  source:
    topic: orders
    rekey: true
    partitions: 3
    replication: 1
    timestamp: at
    fields:
      kind: {type: string, required: true}
  features:
    - {name: n, aggregate: count, windows: [1m, lifetime]}
"""


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("manifests")
    for name, text in (("orders", ORDERS), ("clerks", CLERKS)):
        (folder / f"{name}.yaml").write_text(text)
    return folder / "orders.yaml", folder / "clerks.yaml"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, manifests: tuple[Path, Path]) -> Iterator[Stack]:
    with Stack(list(manifests), tmp_path_factory.mktemp("smoke"), Ports(0, 0, 0, 0, 0)) as found:
        eventually(lambda: not service(found, "serving").ready()[1]["incomplete_partitions"], "complete", 60)
        yield found


def options(stack: Stack, manifests: tuple[Path, ...]) -> Options:
    return Options(
        ingest=stack.ingest_url,
        serving=stack.serving_url,
        metrics=(stack.hub.url,),
        featureset="clerks",
        manifests=manifests,
        timeout_seconds=40,
        read_limit_ms=5000,
    )


def test_its_events_are_good_for_the_topics_own_featuresets_too(stack: Stack, manifests: tuple[Path, Path]) -> None:
    asked = options(stack, manifests)
    report = run(asked)
    assert failures(report) == {}
    assert "8 events make them" in sentence(report, 5, "served values")
    for given in ((), manifests[1:]):
        partly = run(replace(asked, manifests=given))
        assert failures(partly) == {}
        assert statuses(partly)[4] is Status.SKIPPED, "what the other FeatureSet needs is not known"
        assert any("which orders reads too" in check.sentence for check in partly.categories[3].checks)
    settings = KafkaSettings(bootstrap=stack.kafka.bootstrap)
    sent = [message for message in read(settings, "orders") if b"freshet-smoke-" in (message.value or b"")]
    assert len(sent) > 8
    without = [message for message in sent if b'"shop"' not in (message.value or b"")]
    assert without == [], "the topic's own key is missing"
    refused = [message.header("freshet-sentence") for message in read(settings, "dead-letter-queue")]
    assert refused == []
