"""Deleting a FeatureSet: Retain keeps data and needs no operator; Delete cleans up, and never for ever."""

from __future__ import annotations

import datetime
import time

from freshet.dev.servers import EmbeddedKafka
from tests.cluster.api import Api, Object
from tests.cluster.conftest import Installer, NamespaceMaker
from tests.cluster.installation import Installation, eventually
from tests.cluster.kafka import Topics
from tests.cluster.samples import featureset
from tests.cluster.snapshot import child_names, serving_config

NAME = "shop"
FINALIZER = "freshet.dev/cleanup"


def _create(kube: Api, installation: Installation, **spec: object) -> Object:
    kube.create(featureset(installation.namespace, NAME, f"{installation.namespace}-events", **spec))
    installation.wait_condition(NAME, "TopicsReady", "True", seconds=45)
    return installation.wait_observed(NAME)


def _gone(kube: Api, namespace: str) -> bool:
    return kube.get("FeatureSet", namespace, NAME) is None


def _purged(kube: Api, namespace: str) -> bool:
    complete_jobs(kube, namespace)
    return _gone(kube, namespace)


def complete_jobs(kube: Api, namespace: str) -> list[str]:
    """Marks purge Jobs as done, as their pod would; returns the names of all there are."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    names = []
    for job in kube.all("Job", namespace):
        names.append(job["metadata"]["name"])
        if job.get("status", {}).get("completionTime") or "startTime" not in job.get("status", {}):
            continue
        condition = {"status": "True", "reason": "Test", "message": "", "lastTransitionTime": now, "lastProbeTime": now}
        done = [{**condition, "type": "SuccessCriteriaMet"}, {**condition, "type": "Complete"}]
        status = {"succeeded": 1, "active": 0, "ready": 0, "terminating": 0, "completionTime": now, "conditions": done}
        kube.patch("Job", namespace, names[-1], {"status": status}, "status")
    return names


def test_retain_leaves_the_data_and_garbage_collection_takes_the_rest(
    kube: Api, kafka: EmbeddedKafka, install: Installer
) -> None:
    installation = install()
    assert not _create(kube, installation)["metadata"].get("finalizers")
    installation.operator.stop()  # nobody is needed for it
    kube.delete("FeatureSet", installation.namespace, NAME)
    assert _gone(kube, installation.namespace), "without a finalizer it goes at once"
    installation.until(
        lambda: not child_names(kube, installation.namespace, NAME), 30, "the children are collected", keep=False
    )
    assert Topics(kafka.bootstrap).names(f"{installation.namespace}-events") == {
        f"{installation.namespace}-events",
        f"{installation.namespace}-events-out",
    }


def test_a_deleted_featureset_is_no_longer_served(kube: Api, install: Installer) -> None:
    installation = install()
    _create(kube, installation)

    def served() -> int:
        return len((serving_config(kube, installation.namespace) or {"featuresets": []})["featuresets"])

    installation.until(lambda: served() == 1, 20, "it is served")
    kube.delete("FeatureSet", installation.namespace, NAME)
    installation.until(lambda: served() == 0, 20, "it is served no longer")


def test_delete_frees_keys_and_topics(kube: Api, kafka: EmbeddedKafka, install: Installer) -> None:
    installation = install()
    made = _create(kube, installation, deletionPolicy="Delete")
    assert made["metadata"]["finalizers"] == [FINALIZER]
    topics = Topics(kafka.bootstrap)
    kube.delete("FeatureSet", installation.namespace, NAME)
    jobs = installation.until(lambda: complete_jobs(kube, installation.namespace), 30, "a purge Job")
    assert len(jobs) == 1
    assert jobs[0].endswith("-purge")
    assert topics.names(f"{installation.namespace}-events"), "topics go when the keys are freed, not before"
    installation.until(lambda: _purged(kube, installation.namespace), 45, "it is gone")
    assert not topics.names(f"{installation.namespace}-events")
    installation.until(lambda: not child_names(kube, installation.namespace, NAME), 30, "no children are left")


def test_a_topic_that_another_claims_is_handed_over(kube: Api, kafka: EmbeddedKafka, install: Installer) -> None:
    installation = install()
    _create(kube, installation, deletionPolicy="Delete")
    other = featureset(installation.namespace, "other", f"{installation.namespace}-events", output=None)
    kube.create(other)
    installation.wait_condition("other", "TopicsReady", "True", seconds=30)
    kube.delete("FeatureSet", installation.namespace, NAME)
    installation.until(lambda: _purged(kube, installation.namespace), 60, "it is gone")
    assert Topics(kafka.bootstrap).names(f"{installation.namespace}-events") == {f"{installation.namespace}-events"}
    assert installation.condition("other", "TopicsReady")["status"] == "True"


def test_cleanup_that_cannot_end_is_given_up_and_says_so(kube: Api, install: Installer) -> None:
    installation = install(FRESHET_CLEANUP_DEADLINE_SECONDS="6")
    _create(kube, installation, deletionPolicy="Delete")
    begun = time.monotonic()
    kube.delete("FeatureSet", installation.namespace, NAME)
    installation.until(lambda: _gone(kube, installation.namespace), 40, "it is released")
    assert time.monotonic() - begun >= 4, "not before its deadline"
    events = installation.until(lambda: installation.events("CleanupAbandoned"), 10, "an event CleanupAbandoned")
    assert events[0]["type"] == "Warning"


def test_the_abandon_annotation_releases_at_once(kube: Api, kafka: EmbeddedKafka, install: Installer) -> None:
    installation = install()
    _create(kube, installation, deletionPolicy="Delete")
    kube.delete("FeatureSet", installation.namespace, NAME)
    installation.until(lambda: kube.all("Job", installation.namespace), 30, "a purge Job")
    assert not _gone(kube, installation.namespace)
    note = {"metadata": {"annotations": {"freshet.dev/abandon-cleanup": "true"}}}
    kube.patch("FeatureSet", installation.namespace, NAME, note)
    installation.until(lambda: _gone(kube, installation.namespace), 10, "it is released")
    assert Topics(kafka.bootstrap).names(f"{installation.namespace}-events"), "its data stays"


def test_delete_without_kafka_ends_too(kube: Api, own_kafka: EmbeddedKafka, install: Installer) -> None:
    installation = install(kafka=own_kafka.bootstrap, FRESHET_CLEANUP_DEADLINE_SECONDS="8")
    _create(kube, installation, deletionPolicy="Delete")
    own_kafka.kill()
    kube.delete("FeatureSet", installation.namespace, NAME)
    installation.until(lambda: _purged(kube, installation.namespace), 75, "it is released")


def test_a_namespace_goes_under_delete(kube: Api, new_namespace: NamespaceMaker, install: Installer) -> None:
    """The rights come from a ClusterRole: a Role inside would go before its users."""
    inside = new_namespace(pods=False)
    installation = install(watched=(inside,), cluster_wide=True)
    kube.create(featureset(inside, NAME, f"{inside}-events", deletionPolicy="Delete"))
    installation.until(lambda: kube.find("FeatureSet", inside, NAME)["metadata"].get("finalizers"), 45, "a finalizer")
    kube.delete("Namespace", "", inside)
    installation.until(lambda: kube.get("Namespace", "", inside) is None, 60, "the namespace is gone")


def test_a_namespace_goes_under_retain_without_an_operator(
    kube: Api, new_namespace: NamespaceMaker, install: Installer
) -> None:
    installation = install(new_namespace())
    _create(kube, installation)
    installation.operator.end()
    kube.delete("Namespace", "", installation.namespace)
    eventually(lambda: kube.get("Namespace", "", installation.namespace) is None, 60, "the namespace is gone")
