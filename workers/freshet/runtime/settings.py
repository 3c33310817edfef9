"""All configuration of the services, read from the environment in this one place.

Each service has one frozen dataclass; a unit is part of the name, the reason stands under the field. Every problem
of a mapping is reported at once, so that a deployment is mended in one round.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from freshet.runtime.secrets import masked
from freshet.runtime.variables import (
    ConfigurationError,
    Variable,
    boolean,
    choice,
    config_map,
    folder,
    number,
    optional_text,
    paths,
    postgres_url,
    redis_url,
    servers,
    text,
    token,
)

__all__ = [
    "AdminSettings",
    "ConfigurationError",
    "IngestSettings",
    "KafkaSettings",
    "LiveSettings",
    "ProcessorSettings",
    "RecorderSettings",
    "RekeySettings",
    "ServiceSettings",
    "ServingSettings",
]

_LEVELS = ("debug", "info", "warning", "error")
_FIXED = frozenset(
    {
        "acks",
        "auto.offset.reset",
        "bootstrap.servers",
        "enable.auto.commit",
        "enable.auto.offset.store",
        "enable.idempotence",
        "enable.partition.eof",
        "group.id",
        "isolation.level",
        "log.queue",
        "log_level",
        "partition.assignment.strategy",
        "partitioner",
        "transaction.timeout.ms",
        "transactional.id",
    }
)
"""librdkafka properties that correctness rests on; a file may not set them."""


def _from(variable: str, parse: Callable[[str], Any]) -> dict[str, Variable]:
    return {"variable": Variable(variable, parse)}


class _Environment:
    """Gives a dataclass whose fields name their variables a constructor from a mapping."""

    @classmethod
    def from_environment(cls, mapping: Mapping[str, str]) -> Self:
        """The settings that these variables mean; an empty value counts as absent.

        Raises ConfigurationError, one line a problem.
        """
        values: dict[str, Any] = {}
        problems = cls._contradictions({name for name, value in mapping.items() if value.strip()})
        for one in dataclasses.fields(cls):  # type: ignore[arg-type]  # every subclass is a dataclass
            required = one.default is dataclasses.MISSING
            try:
                if "nested" in one.metadata:
                    values[one.name] = one.metadata["nested"].from_environment(mapping)
                else:
                    one.metadata["variable"].read(mapping, one.name, required, values)
            except ConfigurationError as error:
                problems.append(str(error))
        if problems:
            raise ConfigurationError("\n".join(problems))
        return cls(**values)

    @classmethod
    def _contradictions(cls, given: set[str]) -> list[str]:
        """What is wrong with the variables that are set, taken together."""
        return []

    def describe(self) -> dict[str, Any]:
        """The settings by field name as plain values, secrets masked: what a service prints at its start."""
        return {name: masked(name, value) for name, value in dataclasses.asdict(self).items()}  # type: ignore[call-overload]


@dataclass(frozen=True, kw_only=True)
class KafkaSettings(_Environment):
    """How to reach Kafka."""

    bootstrap: str = field(metadata=_from("FRESHET_KAFKA", servers))
    """host:port of one or more brokers, comma-separated: where a client learns of all others."""
    config_file: Path | None = field(default=None, metadata=_from("FRESHET_KAFKA_CONFIG", Path))
    """librdkafka properties (`key=value` lines), for TLS and SASL; a file, because it holds secrets."""

    def properties(self) -> dict[str, str]:
        """The content of `config_file`. Raises ConfigurationError if it cannot be read or sets a fixed property."""
        if self.config_file is None:
            return {}
        try:
            lines = self.config_file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"FRESHET_KAFKA_CONFIG: {self.config_file} cannot be read: {error}") from None
        found: dict[str, str] = {}
        for place, line in enumerate((line.strip() for line in lines), 1):
            if not line or line.startswith(("#", "!")):
                continue
            name, separator, value = (part.strip() for part in line.partition("="))
            where = f"FRESHET_KAFKA_CONFIG: {self.config_file}:{place}"
            if not separator or not name:
                raise ConfigurationError(f"{where}: not of the form property=value")
            if name in _FIXED:
                raise ConfigurationError(f"{where}: {name} is set by Freshet and cannot be changed; remove the line")
            found[name] = value
        return found


@dataclass(frozen=True, kw_only=True)
class ServiceSettings(_Environment):
    """What every service has."""

    namespace: str = field(default="default", metadata=_from("FRESHET_NAMESPACE", text))
    """Of FeatureSets whose manifest has no metadata.namespace. Part of store keys and consumer groups, so that several
    installations can share Kafka and Redis."""
    metrics_host: str = field(default="0.0.0.0", metadata=_from("FRESHET_METRICS_HOST", text))  # noqa: S104  # pods are scraped from outside
    """Address that metrics and probes are answered on."""
    metrics_port: int = field(default=8082, metadata=_from("FRESHET_METRICS_PORT", number(0, 65535)))
    """Port of /metrics, /health and /ready. 0: any free port."""
    log_format: str = field(default="auto", metadata=_from("FRESHET_LOG_FORMAT", choice("auto", "json", "text")))
    """auto: text on a terminal, else JSON lines."""
    log_level: str = field(default="info", metadata=_from("FRESHET_LOG_LEVEL", choice(*_LEVELS)))
    """Least severe level that is written."""
    grace_seconds: float = field(default=25.0, metadata=_from("FRESHET_GRACE_SECONDS", number(0, 3600, whole=False)))
    """Time to drain and flush after SIGTERM; below Kubernetes' 30 s, which end in SIGKILL."""


@dataclass(frozen=True, kw_only=True)
class LiveSettings(ServiceSettings):
    """What the services have whose FeatureSets may change while they run."""

    manifests: tuple[Path, ...] = field(default=(), metadata=_from("FRESHET_MANIFESTS", paths))
    """Files or folders with FeatureSets, comma-separated, read once. Either this or FRESHET_CONFIG_*."""
    config_map: tuple[str, str] | None = field(default=None, metadata=_from("FRESHET_CONFIG_MAP", config_map))
    """namespace/name of the ConfigMap with all FeatureSets, watched over the Kubernetes API of the pod."""
    config_dir: Path | None = field(default=None, metadata=_from("FRESHET_CONFIG_DIR", folder))
    """Folder in which the same ConfigMap is mounted: read while the API cannot be asked."""
    admin_port: int | None = field(default=None, metadata=_from("FRESHET_ADMIN_PORT", number(0, 65535)))
    """Port of GET /config, which tells what configuration is in use. 0: any free port."""

    @property
    def live(self) -> bool:
        """Whether the FeatureSets come from a ConfigMap instead of files."""
        return self.config_map is not None or self.config_dir is not None

    @classmethod
    def _contradictions(cls, given: set[str]) -> list[str]:
        live = [name for name in ("FRESHET_CONFIG_MAP", "FRESHET_CONFIG_DIR") if name in given]
        if live and "FRESHET_MANIFESTS" in given:
            return [f"FRESHET_MANIFESTS and {' and '.join(live)} are set; FeatureSets come from one of them: unset one"]
        if not live and "FRESHET_MANIFESTS" not in given:
            return [
                "FRESHET_MANIFESTS is not set; it names files or folders with FeatureSets, for example "
                "examples/user-activity; on a cluster FRESHET_CONFIG_MAP and FRESHET_CONFIG_DIR are set instead"
            ]
        return []


@dataclass(frozen=True, kw_only=True)
class IngestSettings(LiveSettings):
    """Of `freshet ingest`."""

    kafka: KafkaSettings = field(metadata={"nested": KafkaSettings})
    host: str = field(default="0.0.0.0", metadata=_from("FRESHET_HOST", text))  # noqa: S104  # it is a network service
    """Address that events are taken on."""
    port: int = field(default=8080, metadata=_from("FRESHET_PORT", number(0, 65535)))
    """Port of POST /ingest. 0: any free port."""
    dead_letter_topic: str = field(default="dead-letter-queue", metadata=_from("FRESHET_DEAD_LETTER_TOPIC", text))
    """Made at start beside the topics of the manifests, so that a processor never waits for it."""
    manage_topics: bool = field(default=True, metadata=_from("FRESHET_MANAGE_TOPICS", boolean))
    """Whether missing topics that the manifests manage are made; on a cluster the operator does it."""
    acknowledge_timeout_ms: int = field(
        default=10_000, metadata=_from("FRESHET_ACKNOWLEDGE_TIMEOUT_MS", number(100, 300_000))
    )
    """Longest wait for the broker before a request is answered 503."""
    producer_memory_mb: int = field(default=64, metadata=_from("FRESHET_PRODUCER_MEMORY_MB", number(32, 2000)))
    """Events that wait for the broker; when it is full, requests are answered 429."""
    body_memory_mb: int = field(default=256, metadata=_from("FRESHET_BODY_MEMORY_MB", number(11, 16_000)))
    """Bodies of all requests in progress together; beyond it requests are answered 429."""
    body_timeout_seconds: float = field(
        default=30.0, metadata=_from("FRESHET_BODY_TIMEOUT_SECONDS", number(0.1, 600, whole=False))
    )
    """Longest time that a client may take to send one body."""


@dataclass(frozen=True, kw_only=True)
class ProcessorSettings(ServiceSettings):
    """Of `freshet processor`."""

    manifests: tuple[Path, ...] = field(metadata=_from("FRESHET_MANIFESTS", paths))
    """Files or folders with FeatureSets, comma-separated."""
    kafka: KafkaSettings = field(metadata={"nested": KafkaSettings})
    redis: str = field(metadata=_from("FRESHET_REDIS", redis_url))
    """The online store: redis://, rediss:// or redis+cluster://host:port."""
    postgres: str | None = field(default=None, metadata=_from("FRESHET_POSTGRES", postgres_url))
    """The history database: where states come back from that the store has lost. None: from Kafka alone."""
    featureset: str | None = field(default=None, metadata=_from("FRESHET_FEATURESET", optional_text))
    """Which FeatureSet of the manifests this process works on; may be left out if they hold just one."""
    dead_letter_topic: str = field(default="dead-letter-queue", metadata=_from("FRESHET_DEAD_LETTER_TOPIC", text))
    """Where events go that cannot be processed."""
    on_gap: str = field(default="stop", metadata=_from("FRESHET_ON_GAP", choice("stop", "skip")))
    """What becomes of a partition whose states need events that no log has any more. stop: it says so and waits. skip:
    it goes on without them, and counts them in events_lost_total."""
    coalesce_ms: int = field(default=0, metadata=_from("FRESHET_COALESCE_MS", number(0, 1000)))
    """How long a dirty entity waits for more events when the partition is caught up. A batch is written as soon as it
    is computed, and the next gathers meanwhile; waiting longer trades freshness for fewer store writes."""
    resident_entities: int = field(
        default=500_000, metadata=_from("FRESHET_RESIDENT_ENTITIES", number(1000, 100_000_000))
    )
    """Entities of a partition that stay in memory; others are loaded when events of them come."""


@dataclass(frozen=True, kw_only=True)
class RekeySettings(ServiceSettings):
    """Of `freshet rekey`."""

    manifests: tuple[Path, ...] = field(metadata=_from("FRESHET_MANIFESTS", paths))
    """Files or folders with FeatureSets, comma-separated."""
    kafka: KafkaSettings = field(metadata={"nested": KafkaSettings})
    featureset: str | None = field(default=None, metadata=_from("FRESHET_FEATURESET", optional_text))
    """Which FeatureSet of the manifests says what is re-keyed; may be left out if they hold just one topic of it."""
    on_gap: str = field(default="stop", metadata=_from("FRESHET_ON_GAP", choice("stop", "skip")))
    """What becomes of a partition whose next events the origin has no more, or that was made anew. stop: it says so and
    waits. skip: it goes on with what there is, and counts what is missing in rekey_lost_total."""
    commit_ms: int = field(default=20, metadata=_from("FRESHET_REKEY_COMMIT_MS", number(1, 1000)))
    """Least time between two transactions that copy events. What comes after a pause is copied at once; under load each
    takes so much of it, and a longer time trades freshness for fewer transactions."""


@dataclass(frozen=True, kw_only=True)
class ServingSettings(LiveSettings):
    """Of `freshet serving`."""

    redis: str = field(metadata=_from("FRESHET_REDIS", redis_url))
    """The online store: redis://, rediss:// or redis+cluster://host:port."""
    postgres: str | None = field(default=None, metadata=_from("FRESHET_POSTGRES", postgres_url))
    """The history database: last known values while the store or a partition cannot answer. None: 503 then."""
    host: str = field(default="0.0.0.0", metadata=_from("FRESHET_HOST", text))  # noqa: S104  # it is a network service
    """Address that features are read on."""
    port: int = field(default=8083, metadata=_from("FRESHET_PORT", number(0, 65535)))
    """Port of GET /features. 0: any free port."""
    cache_age_ms: int = field(default=50, metadata=_from("FRESHET_CACHE_AGE_MS", number(0, 60_000)))
    """Longest time that an entity's state is answered from memory: how much staler than the store a value may be."""
    cache_entries: int = field(default=10_000, metadata=_from("FRESHET_CACHE_ENTRIES", number(1, 10_000_000)))
    """Most entities' states that are held in memory."""


@dataclass(frozen=True, kw_only=True)
class RecorderSettings(LiveSettings):
    """Of `freshet recorder`."""

    kafka: KafkaSettings = field(metadata={"nested": KafkaSettings})
    postgres: str = field(metadata=_from("FRESHET_POSTGRES", postgres_url))
    """The history database. Its role makes and drops tables in the schema freshet."""
    redis: str | None = field(default=None, metadata=_from("FRESHET_REDIS", redis_url))
    """The online store, from which checkpoints of states are taken. None: there are no checkpoints, so a store that is
    lost is built again from the log alone; and administration cannot tell what it holds."""
    checkpoint_seconds: float = field(
        default=180.0, metadata=_from("FRESHET_CHECKPOINT_SECONDS", number(1, 86_400, whole=False))
    )
    """How often states that changed are copied. A rebuild reads at most so much of the log again."""
    dead_letter_topic: str = field(default="dead-letter-queue", metadata=_from("FRESHET_DEAD_LETTER_TOPIC", text))
    """Where processors send events that they cannot process."""
    admin_token: str | None = field(default=None, metadata=_from("FRESHET_ADMIN_TOKEN", token))
    """What administers dead letters and erasures on FRESHET_ADMIN_PORT must send; None: nobody can."""

    @classmethod
    def _contradictions(cls, given: set[str]) -> list[str]:
        problems = super()._contradictions(given)
        if "FRESHET_ADMIN_TOKEN" in given and "FRESHET_ADMIN_PORT" not in given:
            problems.append("FRESHET_ADMIN_TOKEN is set, FRESHET_ADMIN_PORT is not: set it to 8084 or another port")
        return problems


@dataclass(frozen=True, kw_only=True)
class AdminSettings(_Environment):
    """Of `freshet dlq` and `freshet erase`."""

    namespace: str = field(default="default", metadata=_from("FRESHET_NAMESPACE", text))
    """Of FeatureSets whose manifest has no metadata.namespace."""
    manifests: tuple[Path, ...] = field(default=(), metadata=_from("FRESHET_MANIFESTS", paths))
    """Files or folders with FeatureSets, comma-separated. Either this or FRESHET_CONFIG_DIR."""
    config_dir: Path | None = field(default=None, metadata=_from("FRESHET_CONFIG_DIR", folder))
    """Folder in which the ConfigMap with all FeatureSets is mounted: so in a pod of the recorder."""
    kafka: KafkaSettings = field(metadata={"nested": KafkaSettings})
    postgres: str | None = field(default=None, metadata=_from("FRESHET_POSTGRES", postgres_url))
    """The history database: dead letters and receipts. None: `freshet erase` only sends its control records."""
    redis: str | None = field(default=None, metadata=_from("FRESHET_REDIS", redis_url))
    """The online store: whether states are reset, and where a revision began to read. None: neither is known."""
    dead_letter_topic: str = field(default="dead-letter-queue", metadata=_from("FRESHET_DEAD_LETTER_TOPIC", text))
    """Where processors send events that they cannot process."""

    @classmethod
    def _contradictions(cls, given: set[str]) -> list[str]:
        if len(given & {"FRESHET_MANIFESTS", "FRESHET_CONFIG_DIR"}) != 1:
            return [
                "FRESHET_MANIFESTS or FRESHET_CONFIG_DIR must be set, not both; they name files or folders with "
                "FeatureSets, for example FRESHET_MANIFESTS=examples/user-activity"
            ]
        return []
