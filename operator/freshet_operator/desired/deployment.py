"""The processors of a revision."""

from __future__ import annotations

from freshet.spec.definition import FeatureSet
from freshet_operator import names
from freshet_operator.desired import pods
from freshet_operator.desired.objects import child_metadata
from freshet_operator.model import Object
from freshet_operator.settings import Settings

CONFIG_HASH = f"{names.GROUP}/config-hash"
"""Annotation of the pod template: digest of the mounted manifest, which is read only at the start."""

PROGRESS_SECONDS = 600
_GRACE_SECONDS = 40  # the processor takes at most 25 s to flush; then SIGKILL


def deployment(featureset: FeatureSet, resource: Object, settings: Settings, replicas: int, config: str) -> Object:
    """The Deployment; `config` is the digest of the mounted manifest."""
    template = settings.processor
    revision = featureset.definition.revision
    name = names.child(featureset.name, revision)
    chosen = pods.selector(featureset.name, revision)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": child_metadata(resource, name, revision),
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 2,
            "progressDeadlineSeconds": PROGRESS_SECONDS,
            "selector": chosen,
            "strategy": _strategy(),
            "template": {
                "metadata": {
                    "labels": pods.pod_labels(template, featureset.name, revision),
                    "annotations": {**template.pod_annotations, CONFIG_HASH: config},
                },
                "spec": _pod(featureset, settings, name, chosen),
            },
        },
    }


def _pod(featureset: FeatureSet, settings: Settings, name: str, chosen: Object) -> Object:
    """Spec of a processor pod; `name` is that of the ConfigMap with the manifest."""
    template = settings.processor
    variables, mounts, volumes = pods.kafka_config(template)
    literals = {
        **variables,
        "FRESHET_MANIFESTS": f"{pods.MANIFEST_FOLDER}/{pods.MANIFEST_FILE}",
        "FRESHET_KAFKA": template.kafka or settings.kafka,
        "FRESHET_DEAD_LETTER_TOPIC": settings.dead_letter_topic,
        "FRESHET_METRICS_PORT": str(settings.processor_metrics_port),
    }
    variables_of = [*pods.environment(settings, literals), *pods.history(template)]
    processor = pods.container(template, "processor", ["freshet", "processor"], variables_of)
    manifest = {"name": "manifest", "mountPath": pods.MANIFEST_FOLDER, "readOnly": True}
    processor |= {
        "ports": [{"name": "metrics", "containerPort": settings.processor_metrics_port, "protocol": "TCP"}],
        "volumeMounts": [manifest, *mounts, *processor["volumeMounts"]],
        **_probes(),
    }
    mounted = [{"name": "manifest", "configMap": {"name": name}}, *volumes]
    spec = pods.pod_spec(template, names.service_account(featureset.name), processor, mounted)
    return spec | {"terminationGracePeriodSeconds": _GRACE_SECONDS, "topologySpreadConstraints": [_spread(chosen)]}


def _strategy() -> Object:
    """A new processor takes partitions over before an old one goes: they are handed over, never left alone.

    Two that own one partition for a moment cannot hurt: the store's fence lets only the newer write.
    """
    return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


def _probes() -> Object:
    """Start and life depend on nothing outside; readiness says whether every assigned partition is worked on."""
    health = {"path": "/health", "port": "metrics"}
    return {
        "startupProbe": {"httpGet": health, "periodSeconds": 2, "timeoutSeconds": 2, "failureThreshold": 60},
        "livenessProbe": {"httpGet": health, "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6},
        "readinessProbe": {
            "httpGet": {"path": "/ready", "port": "metrics"},
            "periodSeconds": 2,
            "timeoutSeconds": 2,
            "failureThreshold": 3,
        },
    }


def _spread(chosen: Object) -> Object:
    return {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": chosen,
        "matchLabelKeys": ["pod-template-hash"],
    }
