"""What a smoke run is asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

METRICS_URL = "http://localhost:8082"


class Output(StrEnum):
    """How the report is printed."""

    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of the command. Each `None` is an option that was not given."""

    ingest: str
    serving: str
    metrics: tuple[str, ...] = ()
    """Base URLs of metrics ports. Empty: METRICS_URL, which then may be missing."""
    kafka: str | None = None
    kafka_config: Path | None = None
    redis: str | None = None
    postgres: str | None = None
    featureset: str | None = None
    manifests: tuple[Path, ...] = ()
    dead_letter_topic: str = "dead-letter-queue"
    timeout_seconds: float = 60.0
    read_limit_ms: float = 250.0
    """Largest p99 of reads that passes."""
    ingest_limit: float = 50.0
    """Least events a second of one batch that passes."""
