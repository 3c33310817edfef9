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
    common = {
        **variables,
        "FRESHET_MANIFESTS": f"{pods.MANIFEST_FOLDER}/{pods.MANIFEST_FILE}",
        "FRESHET_KAFKA": template.kafka or settings.kafka,
    }
    manifest = {"name": "manifest", "mountPath": pods.MANIFEST_FOLDER, "readOnly": True}
    containers = [_processor(settings, common)]
    if featureset.source.origin is not None:
        containers.append(_rekey(settings, common))
    for one in containers:
        one["volumeMounts"] = [manifest, *mounts, *one["volumeMounts"]]
    mounted = [{"name": "manifest", "configMap": {"name": name}}, *volumes]
    spec = pods.pod_spec(template, names.service_account(featureset.name), containers, mounted)
    return spec | {"terminationGracePeriodSeconds": _GRACE_SECONDS, "topologySpreadConstraints": [_spread(chosen)]}


def _processor(settings: Settings, common: dict[str, str]) -> Object:
    template = settings.processor
    literals = {
        **common,
        "FRESHET_DEAD_LETTER_TOPIC": settings.dead_letter_topic,
        "FRESHET_METRICS_PORT": str(settings.processor_metrics_port),
    }
    environment = [*pods.environment(settings, literals), *pods.history(template)]
    processor = pods.container(template, "processor", ["freshet", "processor"], environment)
    ports = [{"name": "metrics", "containerPort": settings.processor_metrics_port, "protocol": "TCP"}]
    return processor | {"ports": ports, **_probes("metrics")}


def _rekey(settings: Settings, common: dict[str, str]) -> Object:
    """The stage beside the processor: all pods share the origin's partitions. It needs no store."""
    literals = {**common, "FRESHET_METRICS_PORT": str(pods.REKEY_METRICS_PORT)}
    environment = [one for one in pods.environment(settings, literals) if one["name"] != "FRESHET_REDIS"]
    stage = pods.container(settings.processor, pods.REKEY, ["freshet", "rekey"], environment)
    ports = [{"name": pods.REKEY_METRICS, "containerPort": pods.REKEY_METRICS_PORT, "protocol": "TCP"}]
    return stage | {"ports": ports, "resources": pods.REKEY_RESOURCES, **_probes(pods.REKEY_METRICS)}


def _strategy() -> Object:
    """A new processor takes partitions over before an old one goes: they are handed over, never left alone.

    Two that own one partition for a moment cannot hurt: the store's fence lets only the newer write.
    """
    return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


def _probes(port: str) -> Object:
    """Start and life depend on nothing outside; readiness says whether every assigned partition is worked on."""
    health = {"path": "/health", "port": port}
    return {
        "startupProbe": {"httpGet": health, "periodSeconds": 2, "timeoutSeconds": 2, "failureThreshold": 60},
        "livenessProbe": {"httpGet": health, "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6},
        "readinessProbe": {
            "httpGet": {"path": "/ready", "port": port},
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
