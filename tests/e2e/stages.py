"""What kubectl tells of a FeatureSet at every stage of its life, for docs/operator.md: `python -m tests.e2e.stages`.

On a release that E2E_KEEP=1 has left in E2E_NAMESPACE; needs KUBECONFIG, and takes the namespace `shop` for itself.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable

from tests.e2e import images
from tests.e2e.cluster import Kubectl, Object, Refused, until
from tests.e2e.conftest import NAMESPACE, make_namespace
from tests.e2e.helm import ROOT, Release

HERE = "shop"
EXAMPLE = ROOT / "examples" / "user-activity" / "featureset.yaml"
NAME = "user-activity"
ORDINARY = {
    "AllPartsReady",
    "CurrentVersion",
    "Idle",
    "Present",
    "Available",
    "Completed",
    "Acked",
    "Running",
    "AsExpected",
}
Do = Callable[[], object]

_kubectl = Kubectl()
_release = Release(_kubectl, NAMESPACE, os.environ.get("E2E_TAG") or images.own_tag(), (HERE,))


def _here(*arguments: str, given: str | None = None) -> str:
    return _kubectl("-n", HERE, *arguments, given=given)


def _patch(spec: Object, name: str = NAME) -> None:
    _kubectl.patch("featureset", HERE, name, {"spec": spec})


def _example(name: str = NAME, **spec: object) -> Object:
    """The example as it is, or under another name and with parts of its spec replaced."""
    item: Object = json.loads(_here("create", "--dry-run=client", "-o", "json", "-f", str(EXAMPLE)))
    return {**item, "metadata": {"name": name}, "spec": {**item["spec"], **spec}}


def _apply(item: Object) -> None:
    _here("apply", "-f", "-", given=json.dumps(item))


def _stage(title: str, act: Do, reason: str, name: str = NAME, seconds: float = 120) -> None:
    """Does something, waits until kubectl's REASON is that (empty: none, it is Ready), and shows what a user sees."""
    begun = time.monotonic()
    act()

    def told() -> bool:
        found = _kubectl.get("featureset", HERE, name)
        status = (found or {}).get("status") or {}
        return "conditions" in status and status.get("reason", "") in reason.split("|")

    until(told, seconds, f"{title}: {reason or 'Ready'}")
    print(f"\n### {title} ({time.monotonic() - begun:.0f} s later)\n")
    print("$ kubectl get fs\n" + _here("get", "fs"))
    status = _kubectl.find("featureset", HERE, name)["status"]
    print("message:", status.get("message"))
    for one in status["conditions"]:
        if one["reason"] not in ORDINARY:
            print(f"  {one['type']:<18} {one['status']:<7} {one['reason']:<18} {one.get('message', '')}")


def _refused(title: str, item: Object) -> None:
    try:
        _apply(item)
    except Refused as error:
        print(f"\n### {title}\n\n{str(error).partition(chr(10))[2]}")
    else:
        raise AssertionError(f"{title}: not refused")


def _quota(pods: int) -> None:
    _here("create", "quota", "pods", f"--hard=pods={pods}")
    _here("delete", "pod", "--all", "--wait=false")


def _kafka(replicas: int) -> None:
    _kubectl("-n", NAMESPACE, "scale", "sts", "freshet-kafka", f"--replicas={replicas}")


def _secret() -> None:
    """Processors take the store's URL from a Secret that is not there."""
    operator = _kubectl.find("deployment", NAMESPACE, "freshet-operator")
    variables = operator["spec"]["template"]["spec"]["containers"][0]["env"]
    template = json.loads(next(one["value"] for one in variables if one["name"] == "FRESHET_PROCESSOR_TEMPLATE"))
    value = json.dumps({**template, "redis": "", "secret": "store"})
    extra = json.dumps([{"name": "FRESHET_PROCESSOR_TEMPLATE", "value": value}])
    _release.upgrade(given=("--set-json", f"operator.extraEnv={extra}"))
    _apply(_example("secretive", source=_example()["spec"]["source"]))


def spec_stages() -> None:
    """What the user's own changes lead to."""
    features = _example()["spec"]["features"]
    more = [*features, {"name": "extra", "aggregate": "count", "windows": ["3h"]}]
    typo = [*features, {"name": "mean", "expression": "purchase_amount_24 / 2"}]
    _stage("applied", lambda: _apply(_example()), "Creating|NotReady")
    _stage("ready", lambda: None, "")
    _stage("suspended", lambda: _patch({"suspend": True}), "Suspended")
    _stage("resumed", lambda: _patch({"suspend": False}), "")
    _stage("paused", lambda: _here("annotate", "fs", NAME, "freshet.dev/paused=true"), "UserRequested")
    _stage("no longer paused", lambda: _here("annotate", "fs", NAME, "freshet.dev/paused-"), "")
    _refused("another definition under the same version", _example(features=more))
    _stage("definition changed", lambda: _apply(_example(version="v2", features=more)), "DefinitionChanged")
    _stage("a name that does not exist", lambda: _apply(_example(version="v3", features=typo)), "InvalidSpec")
    _stage("undone", lambda: _apply(_example()), "")
    source = {**_example()["spec"]["source"], "retention": "30d"}
    _stage("topic conflict", lambda: _apply(_example("second", source=source)), "ResourceConflict", "second")
    _here("delete", "fs", "second")


def trouble_stages() -> None:
    """What is wrong around it."""
    _stage("image", lambda: _release.upgrade("processor.image.tag=not-there", wait=False), "ImagePull")
    _stage("image mended", _release.upgrade, "")
    _stage("quota", lambda: _quota(0), "QuotaExceeded")
    _stage("quota gone", lambda: _here("delete", "quota", "pods"), "", seconds=300)
    _stage("no Secret", _secret, "MissingSecret", "secretive")
    _here("delete", "fs", "secretive")
    _stage("Secret mended", _release.upgrade, "")
    _stage("Kafka away", lambda: _kafka(0), "KafkaUnavailable")
    _stage("Kafka back", lambda: _kafka(1), "", seconds=240)


def end_stages() -> None:
    """Its end, with Kafka away so that there is something to wait for."""
    _stage("deletionPolicy Delete", lambda: _patch({"deletionPolicy": "Delete"}), "")
    print("finalizers:", _kubectl.find("featureset", HERE, NAME)["metadata"].get("finalizers"))
    _kafka(0)
    _stage("deleted", lambda: _here("delete", "fs", NAME, "--wait=false"), "Deleting")
    time.sleep(20)
    _stage("Kafka away", lambda: None, "Deleting")
    print(_here("describe", "fs", NAME).partition("\nEvents:")[2])
    _kafka(1)
    until(lambda: _kubectl.get("featureset", HERE, NAME) is None, 240, "it is gone")
    print(_here("get", "events", "--sort-by=.lastTimestamp"))


if __name__ == "__main__":
    make_namespace(_kubectl, HERE)
    try:
        spec_stages()
        trouble_stages()
        end_stages()
    finally:
        _kafka(1)
        _kubectl.delete("namespace", "default", HERE, "--wait=false")
