"""The Job that frees the online keys of a deleted FeatureSet's revision."""

from __future__ import annotations

from freshet_operator import names
from freshet_operator.desired import pods
from freshet_operator.desired.objects import child_metadata, stamped
from freshet_operator.model import Object
from freshet_operator.settings import Settings

COMPONENT = "purge"


def purge_job(resource: Object, settings: Settings, revision: str, partitions: int) -> Object:
    """Runs `freshet purge`, which may be repeated, at its default rate."""
    meta = resource["metadata"]
    featureset = meta["name"]
    command = ["freshet", "purge", "--featureset", f"{meta['namespace']}/{featureset}"]
    command += ["--revision", revision, "--partitions", str(partitions)]
    container = pods.container(settings.processor, COMPONENT, command, pods.environment(settings, {}))
    spec = pods.pod_spec(settings.processor, names.service_account(featureset), [container], [])
    labels = {**pods.pod_labels(settings.processor, featureset, revision), "app.kubernetes.io/component": COMPONENT}
    metadata = child_metadata(resource, names.purge_job(featureset, revision), revision)
    return stamped(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {**metadata, "labels": {**metadata["labels"], "app.kubernetes.io/component": COMPONENT}},
            "spec": {
                "backoffLimit": 20,  # a store that is away comes back; the deadline is what ends it
                "activeDeadlineSeconds": max(1, int(settings.cleanup_deadline_seconds)),
                "template": {
                    "metadata": {"labels": labels, "annotations": dict(settings.processor.pod_annotations)},
                    "spec": {**spec, "restartPolicy": "OnFailure"},
                },
            },
        }
    )
