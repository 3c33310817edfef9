"""The metrics of all services in one place, and the small HTTP server that shows them beside the probes.

Names are the user's contract (design §10). Labels are bounded: feature sets, reasons, routes; never an entity.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder

from freshet.runtime.side_server import Answer, SideServer

Ready = Callable[[], tuple[bool, dict[str, Any]]]
"""Whether the service can answer, and what is missing or else worth knowing; called from any thread."""

_FAST = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_FRESH = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 600.0)

EVENTS_PROCESSED = Counter("events_processed_total", "Events counted into features.", ["featureset"])
EVENTS_FAILED = Counter("events_failed_total", "Events sent to the dead-letter topic.", ["featureset", "reason"])
EVENTS_DUPLICATE = Counter("events_duplicate_total", "Events left out as duplicates.", ["featureset"])
EVENTS_LATE = Counter("events_late_total", "Events older than the entity's newest, counted anyway.", ["featureset"])
EVENTS_CLAMPED = Counter("events_clamped_total", "Events stamped after the broker's clock.", ["featureset"])
EVENTS_TOO_LATE = Counter("events_too_late_total", "Events older than every window.", ["featureset"])
EVENTS_OUTSIDE_SESSIONS = Counter(
    "events_outside_sessions_total", "Times that an event came too late for a session feature.", ["featureset"]
)
ENTITIES_COARSENED = Counter(
    "entities_coarsened_total", "Entities whose sets became sketches, as limits.entityBytes asks.", ["featureset"]
)
ENTITIES_ERASED = Counter("entities_erased_total", "Entities whose states an erasure has reset.", ["featureset"])
FEATURE_VECTORS = Counter("feature_vectors_total", "Feature vectors sent to the output topic.", ["featureset"])
FEATURE_COMPUTATION_SECONDS = Histogram(
    "feature_computation_seconds", "Computing one batch of events, or one read.", ["featureset"], buckets=_FAST
)
FLUSH_SECONDS = Histogram("flush_seconds", "Writing one batch of states to the store.", ["featureset"], buckets=_FAST)
FRESHNESS_SECONDS = Histogram(
    "freshness_seconds", "From the broker's clock of an event until it is readable.", ["featureset"], buckets=_FRESH
)
PROCESSOR_BUSY_SECONDS = Counter(
    "processor_busy_seconds_total", "Time that the processor's main loop did not wait for events.", ["featureset"]
)
STORE_REFUSALS = Counter("store_refusals_total", "Writes or loads that the fence refused.", ["featureset", "reason"])
PARTITION_LAG = Gauge("partition_lag", "Events of a partition not yet in its states.", ["featureset", "partition"])
PARTITIONS_REBUILDING = Gauge(
    "partitions_rebuilding", "Partitions whose states are not complete: their entities cannot be read.", ["featureset"]
)
PARTITIONS_STOPPED = Gauge(
    "partitions_stopped", "Partitions that wait for another try, by what stopped them.", ["featureset", "reason"]
)
EVENTS_LOST = Counter(
    "events_lost_total", "Offsets that were skipped because no log has them (FRESHET_ON_GAP=skip).", ["featureset"]
)
REBUILD_RATIO = Gauge(
    "rebuild_progress_ratio", "Share of a partition that is built again; only while it is.", ["featureset", "partition"]
)
REBUILD_ETA = Gauge(
    "rebuild_eta_seconds",
    "Seconds until a partition is complete; NaN: not known; only while it is not.",
    ["featureset", "partition"],
)
CHECKPOINTED_STATES = Counter("checkpointed_states_total", "States written into checkpoints.", ["featureset"])
CHECKPOINT_TIME = Gauge(
    "checkpoint_timestamp_seconds",
    "When the newest checkpoint was seen to hold everything.",
    ["featureset", "partition"],
)
CHECKPOINT_FAILURES = Counter("checkpoint_failures_total", "Checkpoints that were not taken.", ["featureset", "reason"])
CACHE_HITS = Counter("cache_hits_total", "Entities found in memory.", ["featureset"])
CACHE_MISSES = Counter("cache_misses_total", "Entities that the store was asked for.", ["featureset"])
STALE_ANSWERS = Counter(
    "stale_answers_total", "Entities answered with their last recorded values, by why.", ["featureset", "reason"]
)
EXPRESSION_NULLS = Counter(
    "expression_nulls_total", "Values that SQL would raise on or that are not finite, given as null.", ["featureset"]
)
HTTP_REQUEST_SECONDS = Histogram(
    "http_request_seconds", "Answering one request, by route pattern.", ["route", "status"], buckets=_FAST
)
EVENTS_ACCEPTED = Counter("events_accepted_total", "Events that the broker has acknowledged to ingest.", ["topic"])
EVENTS_REFUSED = Counter("events_refused_total", "Events that ingest has refused.", ["reason"])
PRODUCER_QUEUE = Gauge("producer_queue_messages", "Events of ingest that wait for the broker.")

RECORDER_ROWS = Counter("recorder_rows_total", "Rows written to history.", ["table"])
RECORDER_REFUSED = Counter("recorder_refused_total", "Records that history could not take as they are.", ["table"])
RECORDER_MISSED = Counter("recorder_missed_total", "Records that Kafka dropped before they were recorded.", ["topic"])
RECORDER_FAILURES = Counter("recorder_failures_total", "Times that a partition had to be taken over again.", ["reason"])
RECORDER_LAG = Gauge("recorder_lag", "Records of a partition not yet in history.", ["topic", "partition"])
RECORDER_TRANSACTION_SECONDS = Histogram(
    "recorder_transaction_seconds", "One transaction of rows and offsets.", buckets=_FAST
)
REKEY_READ = Counter("rekey_read_total", "Records of an origin that were re-keyed or left out.", ["topic"])
REKEY_WRITTEN = Counter(
    "rekey_written_total", "Records copied into a re-keyed topic; unreadable: with the key they had.", ["topic", "fate"]
)
REKEY_SKIPPED = Counter("rekey_skipped_total", "Records that are no events of the entity, by why.", ["topic", "reason"])
REKEY_TRANSACTIONS = Counter("rekey_transactions_total", "Transactions by their outcome.", ["topic", "outcome"])
REKEY_TRANSACTION_SECONDS = Histogram(
    "rekey_transaction_seconds", "Committing one transaction.", ["topic"], buckets=_FAST
)
REKEY_DELAY_SECONDS = Histogram(
    "rekey_delay_seconds", "From the broker's clock of an event until its copy is committed.", ["topic"], buckets=_FRESH
)
REKEY_LAG = Gauge("rekey_lag", "Records of an origin's partition not yet copied.", ["topic", "partition"])
REKEY_STOPPED = Gauge(
    "rekey_partitions_stopped", "Partitions that wait for another try, by what stopped them.", ["topic", "reason"]
)
REKEY_LOST = Counter("rekey_lost_total", "Offsets skipped because the origin has them no more.", ["topic"])
HISTORY_UP = Gauge("history_up", "Whether the history database can be used: 1 or 0.")


def exposition(accept: str = "") -> tuple[bytes, str]:
    """All metrics of this process and their Content-Type, in the format that the Accept header asks for."""
    encode, content_type = choose_encoder(accept)
    return encode(REGISTRY), content_type


def serve(host: str, port: int, ready: Ready) -> SideServer:
    """Answers /metrics, /health and /ready. Raises OSError if the port is taken."""

    def respond(path: str, accept: str) -> Answer:
        if path == "/metrics":
            return Answer(200, *exposition(accept))
        if path == "/health":
            return Answer(200, b'{"status": "ok"}')
        if path == "/ready":
            good, details = ready()
            return Answer(200 if good else 503, json.dumps({"ready": good, **details}, default=str).encode())
        return Answer(404, b'{"message": "here are /metrics, /health and /ready"}')

    return SideServer(host, port, "metrics", respond)
