"""The commands of the README as a user types them, on the example."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.cluster import Kubectl, until
from tests.e2e.conftest import Installation, namespace_of
from tests.e2e.helm import ROOT
from tests.e2e.traffic import Account

EXAMPLE = ROOT / "examples" / "user-activity" / "featureset.yaml"
EXPERIMENT = ROOT / "examples" / "experiments" / "engagement-v2.yaml"
HERE = namespace_of(__name__)
NAME = "user-activity"


@pytest.fixture(scope="module")
def example(installation: Installation) -> Iterator[Account]:
    """The example, ready, with some traffic."""
    kubectl = installation.kubectl
    kubectl("-n", HERE, "apply", "-f", str(EXAMPLE))
    begun = time.monotonic()
    kubectl("-n", HERE, "wait", "--for=condition=Ready", f"fs/{NAME}", "--timeout=120s", seconds=150)
    print(f"ready {time.monotonic() - begun:.1f} s after kubectl apply")
    account = installation.account(NAME, entity="user")
    account.send(300)
    yield account
    kubectl.delete("featureset", HERE, NAME, "--timeout=60s")


def test_features_are_read_through_a_port_forward(example: Account) -> None:
    took = example.check()
    print(f"all values right {took:.1f} s after the last event was acknowledged")


def test_the_event_of_the_readme_is_in_the_features_of_its_user(installation: Installation, example: Account) -> None:
    """As `curl` sends it and reads it."""
    event = {"event_id": f"evt_{time.time_ns()}", "user_id": "user_alice", "event_type": "purchase"}
    event |= {"device_type": "mobile", "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 5))}
    read = f"{installation.serving.open()}/features/user_alice"
    before = _curl(read)["features"]["activity_count_1h"]["value"]
    answer = _curl("-X", "POST", f"{installation.ingest.open()}/ingest", "-d", json.dumps(event))
    assert answer["accepted"] == 1, answer

    def counted() -> bool:
        answer = _curl(read)
        assert answer["user_id"] == "user_alice"
        return bool(answer["features"]["activity_count_1h"]["value"] == before + 1)

    until(counted, 10, "the event is counted")


def test_kubectl_get_tells_how_it_is(installation: Installation, example: Account) -> None:
    example.check()

    def table(*options: str) -> tuple[list[str], list[str]]:
        head, row = installation.kubectl("-n", HERE, "get", "featuresets", NAME, *options).splitlines()
        return head.split(), row.split()

    head, row = table()
    assert head == ["NAME", "VERSION", "SERVING", "READY", "PHASE", "LAG", "FRESHNESS", "REASON", "AGE"]
    assert row[:5] == [NAME, "v1", "v1", "True", "Serving"], row
    head, _ = table("-o", "wide")
    assert head[-3:] == ["REPLICAS", "REVISION", "TOPIC"]
    said = installation.kubectl("-n", HERE, "describe", "fs", NAME)
    for word in ("TopicsReady", "ProcessorReady", "BackfillComplete", "ServingConfigured", "raw-events"):
        assert word in said, f"kubectl describe fs does not say {word}:\n{said}"


def test_events_and_vectors_reach_the_history(installation: Installation, example: Account) -> None:
    """By `freshet history` in the recorder's pod, as the chart's notes say."""
    example.check()
    command = ("exec", "deploy/freshet-recorder", "--", "freshet", "history", "--output", "json")

    def recorded() -> dict[str, int] | None:
        told = json.loads(installation.kubectl("-n", installation.namespace, *command))
        counts: dict[str, int] = {}
        for one in told["positions"]:
            if one["lag"] != 0:
                return None
            counts[one["topic"]] = counts.get(one["topic"], 0) + one["next_offset"] - one["first_offset"]
        return counts if counts.get("raw-events", 0) >= 300 and counts.get("feature-events") else None

    counts = until(recorded, 60, "the recorder has everything", every=1)
    print(f"recorded: {counts}")


def test_features_are_read_in_the_cluster(installation: Installation, example: Account) -> None:
    example.check()
    user, expected = next(iter(example.expected().items()))
    url = f"http://freshet-serving.{installation.namespace}.svc:8083{example.path(user)}"
    program = f"import urllib.request; print(urllib.request.urlopen({url!r}, timeout=20).read().decode())"
    answer = json.loads(_in_a_pod(installation.kubectl, f"freshet/workers:{installation.release.tag}", program))
    assert {name: entry["value"] for name, entry in answer["features"].items()} == expected


def test_an_experiment_says_that_it_is_not_run(installation: Installation, example: Account) -> None:
    installation.kubectl("-n", HERE, "apply", "-f", str(EXPERIMENT))
    try:
        told = installation.kubectl.condition
        until(lambda: told(HERE, "engagement-v2", "Ready", "experiment"), 20, "it says something")
        ready = installation.kubectl.condition(HERE, "engagement-v2", "Ready", "experiment")
        assert ready["reason"] == "NotImplemented", ready
    finally:
        installation.kubectl.delete("experiment", HERE, "engagement-v2")


def test_helm_test_is_green(installation: Installation, example: Account) -> None:
    example.check()
    said = installation.release("test", installation.release.name, "--logs", "--timeout", "4m")
    assert "Succeeded" in said, said
    assert "records that were sent are recorded" in said, said
    print(said)


def _curl(*arguments: str) -> Any:
    done = subprocess.run(["curl", "-sS", "--max-time", "20", *arguments], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def _in_a_pod(kubectl: Kubectl, image: str, program: str) -> str:
    """Output of a Python program in a pod of its own."""
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container = {
        "name": "client",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-c", program],
        "securityContext": {**security, "runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    }
    name = f"client-{time.time_ns()}"
    spec = {"restartPolicy": "Never", "containers": [container]}
    kubectl.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": HERE}, "spec": spec})
    try:
        kubectl("-n", HERE, "wait", f"pod/{name}", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
        return kubectl("-n", HERE, "logs", name)
    finally:
        kubectl.delete("pod", HERE, name, "--wait=false")
