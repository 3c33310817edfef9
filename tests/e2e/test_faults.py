"""Pods are killed, with no goodbye, while events come: nothing is lost, nothing counts twice."""

from __future__ import annotations

import threading
import time

import pytest

from tests.e2e.cluster import until
from tests.e2e.conftest import OPERATOR, FeatureSets, Installation
from tests.e2e.traffic import Account

NAME = "faults"
TAKEN_OVER_SECONDS = 20
"""A killed leader's Lease is another's after 15 s and up to two tries."""


@pytest.fixture(scope="module")
def account(shared: FeatureSets) -> Account:
    """One FeatureSet for all, whose values must be right after each fault."""
    return shared.ready(NAME)


@pytest.mark.parametrize("component", ["processor", "serving", "ingest"])
def test_a_killed_pod_costs_nothing(
    installation: Installation, shared: FeatureSets, account: Account, component: str
) -> None:
    kubectl = installation.kubectl
    if component == "processor":
        where, selector = shared.namespace, f"freshet.dev/featureset={NAME}"
    else:
        where, selector = (
            installation.namespace,
            f"app.kubernetes.io/name=freshet,app.kubernetes.io/component={component}",
        )
    account.send(100)
    before = until(lambda: kubectl.running(where, selector), 60, f"{component} runs")
    for pod in before:
        kubectl.kill(where, pod)
    account.send(200)
    took = account.check(90)
    print(f"{component}: values right {took:.1f} s after the last event was acknowledged")
    until(lambda: len(set(kubectl.running(where, selector)) - set(before)) >= len(before), 60, "it runs again")
    kubectl.wait_condition(shared.namespace, NAME, "Ready", "True")
    account.send(50)
    account.check()


def test_a_killed_leader_is_followed_by_the_other(
    installation: Installation, shared: FeatureSets, account: Account
) -> None:
    kubectl = installation.kubectl
    leader = until(installation.leader, 60, "somebody leads")
    assert len(kubectl.running(installation.namespace, OPERATOR)) == 2, "two operators"
    kubectl.kill(installation.namespace, leader)
    begun = time.monotonic()
    until(lambda: installation.leader() not in ("", leader), TAKEN_OVER_SECONDS + 10, "another leads")
    took = time.monotonic() - begun
    print(f"another leads after {took:.1f} s")
    assert took <= TAKEN_OVER_SECONDS
    assert_repairs(installation, shared)
    account.send(50)
    account.check()


def test_without_an_operator_everything_else_goes_on(
    installation: Installation, shared: FeatureSets, account: Account
) -> None:
    kubectl = installation.kubectl
    installation.scale_operator(0)
    try:
        for pod in shared.pods(NAME):
            kubectl.kill(shared.namespace, pod)
        account.send(200)
        account.check(90)
        for pod in kubectl.running(installation.namespace, "app.kubernetes.io/component=serving"):
            kubectl.kill(installation.namespace, pod)
        account.send(50)
        account.check(90)
    finally:
        installation.scale_operator(2)
    assert_repairs(installation, shared, seconds=60)


@pytest.mark.e2e_long
def test_every_pod_is_killed_at_once_under_traffic(
    installation: Installation, shared: FeatureSets, account: Account
) -> None:
    """All of Freshet; Kafka and the store stay."""
    kubectl, failures = installation.kubectl, list[BaseException]()

    def traffic() -> None:
        try:
            for _ in range(40):
                account.send(50)
                time.sleep(0.2)
        except BaseException as error:
            failures.append(error)
            raise

    sender = threading.Thread(target=traffic)
    sender.start()
    time.sleep(2)
    ours = "app.kubernetes.io/name=freshet,app.kubernetes.io/component in (operator,ingest,serving)"
    for where, selector in ((installation.namespace, ours), (shared.namespace, f"freshet.dev/featureset={NAME}")):
        for pod in kubectl.running(where, selector):
            kubectl.kill(where, pod)
    sender.join()
    assert not failures, failures
    account.check(120)
    kubectl.wait_condition(shared.namespace, NAME, "Ready", "True", seconds=120)


def assert_repairs(installation: Installation, featuresets: FeatureSets, seconds: float = 30) -> None:
    """Somebody is at work: a child that is deleted comes back."""
    account = f"{NAME}-processor"
    found = installation.kubectl.find("serviceaccount", featuresets.namespace, account)["metadata"]["uid"]
    installation.kubectl.delete("serviceaccount", featuresets.namespace, account)

    def back() -> bool:
        now = installation.kubectl.get("serviceaccount", featuresets.namespace, account)
        return now is not None and now["metadata"]["uid"] != found

    until(back, seconds, "the ServiceAccount is made again")
