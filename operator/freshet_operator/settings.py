"""All configuration of the operator, read from the environment in this one place."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from freshet.runtime.variables import ConfigurationError


@dataclass(frozen=True, kw_only=True)
class ProcessorTemplate:
    """What every processor Deployment gets beside its FeatureSet; `FRESHET_PROCESSOR_TEMPLATE`, a JSON object."""

    image: str
    image_pull_policy: str = "IfNotPresent"
    image_pull_secrets: tuple[str, ...] = ()
    kafka: str = ""
    """FRESHET_KAFKA of processors."""
    redis: str = ""
    """FRESHET_REDIS of processors, without a password; empty: the key `redis` of the Secret."""
    postgres: str = ""
    """FRESHET_POSTGRES of processors, without a password; empty: the Secret's key `postgres`, or no history."""
    secret: str = ""
    """A Secret of this name in the FeatureSet's own namespace: `redis` (URL), `kafka.properties`, `postgres` (URL).
    Empty: none."""
    secret_has_kafka_config: bool = False
    """Mount the Secret's `kafka.properties` and name it in FRESHET_KAFKA_CONFIG."""
    secret_has_postgres: bool = False
    """Give processors the Secret's `postgres`; where a namespace's Secret has none, they do without history."""
    environment: dict[str, str] = field(default_factory=dict)
    """More variables, for example FRESHET_LOG_LEVEL."""
    resources: dict[str, Any] = field(default_factory=dict)
    service_account_annotations: dict[str, str] = field(default_factory=dict)
    pod_annotations: dict[str, str] = field(default_factory=dict)
    pod_labels: dict[str, str] = field(default_factory=dict)
    node_selector: dict[str, str] = field(default_factory=dict)
    tolerations: tuple[dict[str, Any], ...] = ()
    affinity: dict[str, Any] = field(default_factory=dict)
    priority_class: str = ""
    run_as_user: int = 10001
    network_policy: bool = True
    """Make a NetworkPolicy for each FeatureSet's processors."""
    operator_namespace: str = ""
    """May reach the processors' metrics; the release namespace."""
    metrics_from: tuple[dict[str, Any], ...] = ()
    """Who else may (NetworkPolicy peers, as the chart's namespace understands them): a Prometheus elsewhere."""
    egress_cidrs: tuple[str, ...] = ()
    """Where Kafka and Redis are, for the NetworkPolicy; empty: anywhere, by port."""
    egress_ports: tuple[int, ...] = (9092, 9094, 9096, 9098, 6379)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Of the operator process."""

    processor: ProcessorTemplate
    kafka: str
    kafka_config: str = ""
    """Path of librdkafka properties."""
    replication: int | None = None
    """Replaces every manifest's replication (1 on a laptop's single broker)."""
    dead_letter_topic: str = "dead-letter-queue"
    namespaces: tuple[str, ...] = ()
    """Which are watched; empty: all."""
    own_namespace: str
    """Of the Lease, the serving ConfigMap and the serving pods."""
    identity: str
    """Of this replica, in the Lease."""
    lease_name: str = "freshet-operator"
    serving_config: str = "freshet-featuresets"
    """Name of the serving ConfigMap."""
    serving_selector: str = "app.kubernetes.io/name=freshet,app.kubernetes.io/component in (serving,ingest)"
    """Label selector of the pods that acknowledge the serving configuration."""
    admin_port: int = 8084
    metrics_port: int = 8082
    processor_metrics_port: int = 8082
    workers: int = 4
    resync_seconds: float = 300.0
    cleanup_deadline_seconds: float = 600.0
    log_format: str = "auto"
    log_level: str = "info"

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> Settings:
        """The settings that these variables mean. Raises ConfigurationError, one line a problem."""
        problems: list[str] = []
        values: dict[str, Any] = {}
        for name, (variable, parse, required) in _VARIABLES.items():
            given = env.get(variable, "").strip()
            if not given:
                if required:
                    problems.append(f"{variable} is not set")
                continue
            try:
                values[name] = parse(given)
            except (ValueError, TypeError) as error:
                problems.append(f"{variable}: {error}")
        if problems:
            raise ConfigurationError("\n".join(problems))
        return cls(**values)


def _template(text: str) -> ProcessorTemplate:
    given = json.loads(text)
    if not isinstance(given, dict):
        raise TypeError("must be a JSON object")
    tuples = {"image_pull_secrets", "tolerations", "metrics_from", "egress_cidrs", "egress_ports"}
    unknown = given.keys() - {one.name for one in dataclasses.fields(ProcessorTemplate)}
    if unknown:
        raise TypeError(f"has unknown names: {', '.join(sorted(unknown))}")
    values: dict[str, Any] = {name: tuple(value) if name in tuples else value for name, value in given.items()}
    return ProcessorTemplate(**values)


def _namespaces(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _positive(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 65535:
        raise ValueError(f'"{text}" is not a whole number from 1 to 65535')
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 0.1 <= value <= 86400:
        raise ValueError(f'"{text}" is not a number of seconds from 0.1 to 86400')
    return value


_VARIABLES: dict[str, tuple[str, Any, bool]] = {
    "processor": ("FRESHET_PROCESSOR_TEMPLATE", _template, True),
    "kafka": ("FRESHET_KAFKA", str, True),
    "kafka_config": ("FRESHET_KAFKA_CONFIG", str, False),
    "replication": ("FRESHET_REPLICATION", _positive, False),
    "dead_letter_topic": ("FRESHET_DEAD_LETTER_TOPIC", str, False),
    "namespaces": ("FRESHET_WATCH_NAMESPACES", _namespaces, False),
    "own_namespace": ("FRESHET_OPERATOR_NAMESPACE", str, True),
    "identity": ("FRESHET_IDENTITY", str, True),
    "lease_name": ("FRESHET_LEASE", str, False),
    "serving_config": ("FRESHET_SERVING_CONFIG", str, False),
    "serving_selector": ("FRESHET_SERVING_SELECTOR", str, False),
    "admin_port": ("FRESHET_ADMIN_PORT", _positive, False),
    "metrics_port": ("FRESHET_METRICS_PORT", _positive, False),
    "processor_metrics_port": ("FRESHET_PROCESSOR_METRICS_PORT", _positive, False),
    "workers": ("FRESHET_WORKERS", _positive, False),
    "resync_seconds": ("FRESHET_RESYNC_SECONDS", _seconds, False),
    "cleanup_deadline_seconds": ("FRESHET_CLEANUP_DEADLINE_SECONDS", _seconds, False),
    "log_format": ("FRESHET_LOG_FORMAT", str, False),
    "log_level": ("FRESHET_LOG_LEVEL", str, False),
}
