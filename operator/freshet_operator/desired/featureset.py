"""Everything that a valid FeatureSet asks for."""

from __future__ import annotations

from freshet.spec.definition import FeatureSet
from freshet.spec.resource import reduced
from freshet_operator import names
from freshet_operator.desired import pods
from freshet_operator.desired.deployment import deployment
from freshet_operator.desired.network import network_policy
from freshet_operator.desired.objects import canonical, child_metadata, digest, stamped
from freshet_operator.desired.revision import controller_revision
from freshet_operator.desired.serving import entry
from freshet_operator.desired.topics import wanted_topics
from freshet_operator.model import Desired, Object
from freshet_operator.settings import Settings


def desired(featureset: FeatureSet, resource: Object, settings: Settings, replicas: int) -> Desired:
    """The objects, topics and serving entry of `resource`, whose spec is compiled in `featureset`.

    Equal arguments give equal objects in every process: an operator that is restarted writes nothing.
    """
    manifest = reduced(resource)
    objects = [
        controller_revision(resource),
        _service_account(featureset, resource, settings),
        _config_map(featureset, resource, manifest),
        *([network_policy(featureset, resource, settings)] if settings.processor.network_policy else []),
        _disruption_budget(featureset, resource),
        deployment(featureset, resource, settings, replicas, digest(manifest)),
    ]
    return Desired(
        objects=tuple(stamped(item) for item in objects),
        topics=wanted_topics(featureset, settings),
        entry=entry(resource),
    )


def _service_account(featureset: FeatureSet, resource: Object, settings: Settings) -> Object:
    """An identity without rights in the cluster; its annotations may give it some in the cloud."""
    annotations = settings.processor.service_account_annotations
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": child_metadata(resource, names.service_account(featureset.name), annotations=annotations),
        "automountServiceAccountToken": False,
    }


def _config_map(featureset: FeatureSet, resource: Object, manifest: Object) -> Object:
    revision = featureset.definition.revision
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": child_metadata(resource, names.child(featureset.name, revision), revision),
        "data": {pods.MANIFEST_FILE: canonical(manifest)},
    }


def _disruption_budget(featureset: FeatureSet, resource: Object) -> Object:
    """One processor at a time: the others take its partitions over. One that is ill may always be evicted."""
    revision = featureset.definition.revision
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": child_metadata(resource, names.child(featureset.name, revision), revision),
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": pods.selector(featureset.name, revision),
        },
    }
