"""The parts of pods: one shape for processors and for the Job that purges, safe under `restricted` pod security."""

from __future__ import annotations

from typing import Any

from freshet_operator import names
from freshet_operator.model import Object
from freshet_operator.settings import ProcessorTemplate, Settings

REDIS_KEY = "redis"
KAFKA_KEY = "kafka.properties"
POSTGRES_KEY = "postgres"
"""Keys of the Secret in the FeatureSet's namespace."""

MANIFEST_FOLDER = "/etc/freshet/manifests"
MANIFEST_FILE = "featureset.json"
REKEY = "rekey"
"""Name of the container that copies events for a FeatureSet with spec.source.rekey."""
REKEY_METRICS = "rekey-metrics"
REKEY_METRICS_PORT = 8085
REKEY_RESOURCES: Object = {"requests": {"cpu": "100m", "memory": "384Mi"}, "limits": {"memory": "384Mi"}}
"""It keeps what a transaction holds and what the client has fetched, and nothing else."""

_KAFKA_FOLDER = "/etc/freshet/kafka"
_TEMPORARY = "64Mi"

DEFAULT_RESOURCES: Object = {"requests": {"cpu": "250m", "memory": "1Gi"}, "limits": {"memory": "1Gi"}}
"""Where the settings say nothing. Memory requested is memory allowed: a pod is not killed for its neighbours'."""


def pod_spec(template: ProcessorTemplate, account: str, containers: list[Object], volumes: list[Object]) -> Object:
    """Spec of a pod."""
    found: Object = {
        "serviceAccountName": account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": template.run_as_user,
            "runAsGroup": template.run_as_user,
            "fsGroup": template.run_as_user,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": containers,
        "volumes": [*volumes, {"name": "tmp", "emptyDir": {"sizeLimit": _TEMPORARY}}],
    }
    optional: dict[str, Any] = {
        "imagePullSecrets": [{"name": name} for name in template.image_pull_secrets],
        "nodeSelector": dict(template.node_selector),
        "tolerations": [dict(one) for one in template.tolerations],
        "affinity": dict(template.affinity),
        "priorityClassName": template.priority_class,
    }
    return found | {name: value for name, value in optional.items() if value}


def container(template: ProcessorTemplate, name: str, command: list[str], env: list[Object]) -> Object:
    """A container of the workers' image."""
    return {
        "name": name,
        "image": template.image,
        "imagePullPolicy": template.image_pull_policy,
        "command": command,
        "env": env,
        "resources": template.resources or DEFAULT_RESOURCES,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108  # the pod's own
    }


def environment(settings: Settings, literals: dict[str, str]) -> list[Object]:
    """Variables by name: the settings' additions, these literals, and where the store is."""
    template = settings.processor
    values = {"FRESHET_LOG_FORMAT": "json", **template.environment, **literals}
    found: dict[str, Object] = {name: {"name": name, "value": value} for name, value in values.items()}
    if template.redis:
        found["FRESHET_REDIS"] = {"name": "FRESHET_REDIS", "value": template.redis}
    elif template.secret:
        reference = {"name": template.secret, "key": REDIS_KEY}
        found["FRESHET_REDIS"] = {"name": "FRESHET_REDIS", "valueFrom": {"secretKeyRef": reference}}
    return [found[name] for name in sorted(found)]


def history(template: ProcessorTemplate) -> list[Object]:
    """Where the history database is; nothing where there is none. It may be missing: states then come from Kafka."""
    if template.postgres:
        return [{"name": "FRESHET_POSTGRES", "value": template.postgres}]
    if template.secret and template.secret_has_postgres:
        reference = {"name": template.secret, "key": POSTGRES_KEY, "optional": True}
        return [{"name": "FRESHET_POSTGRES", "valueFrom": {"secretKeyRef": reference}}]
    return []


def kafka_config(template: ProcessorTemplate) -> tuple[dict[str, str], list[Object], list[Object]]:
    """Variables, mounts and volumes for the Secret's Kafka properties; nothing where there are none."""
    if not (template.secret and template.secret_has_kafka_config):
        return {}, [], []
    # A pod that waits for a volume says nothing; one that lacks a variable does (CreateContainerConfigError).
    said_by_variable = not template.redis
    volume: Object = {
        "name": "kafka",
        "secret": {
            "secretName": template.secret,
            "items": [{"key": KAFKA_KEY, "path": KAFKA_KEY}],
            "defaultMode": 0o440,
            "optional": said_by_variable,
        },
    }
    mount = {"name": "kafka", "mountPath": _KAFKA_FOLDER, "readOnly": True}
    return {"FRESHET_KAFKA_CONFIG": f"{_KAFKA_FOLDER}/{KAFKA_KEY}"}, [mount], [volume]


def pod_labels(template: ProcessorTemplate, featureset: str, revision: str) -> dict[str, str]:
    """Labels of a processor pod; those that selectors use cannot be replaced by settings."""
    return {**template.pod_labels, **names.labels(featureset, revision)}


def selector(featureset: str, revision: str | None = None) -> Object:
    """Selects the processor pods of a FeatureSet, or of one of its revisions. A Deployment's can never change."""
    found = {names.LABEL_FEATURESET: featureset, "app.kubernetes.io/component": "processor"}
    return {"matchLabels": found if revision is None else {**found, names.LABEL_REVISION: revision}}
