"""The operator's metrics, named like those of other controllers, so that people's dashboards fit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from freshet_operator.model import Object

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)

_TIMES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

QUEUE_DEPTH = Gauge("workqueue_depth", "Keys that wait for a worker.", ["name"], registry=REGISTRY)
QUEUE_ADDS = Counter("workqueue_adds_total", "Keys put into the queue.", ["name"], registry=REGISTRY)
QUEUE_RETRIES = Counter("workqueue_retries_total", "Keys put back after an error.", ["name"], registry=REGISTRY)
QUEUE_SECONDS = Histogram(
    "workqueue_queue_duration_seconds",
    "How long a key waits for a worker.",
    ["name"],
    buckets=_TIMES,
    registry=REGISTRY,
)
RECONCILES = Counter(
    "controller_runtime_reconcile_total", "Reconciles by outcome.", ["controller", "result"], registry=REGISTRY
)
RECONCILE_ERRORS = Counter(
    "controller_runtime_reconcile_errors_total", "Reconciles that failed.", ["controller"], registry=REGISTRY
)
RECONCILE_SECONDS = Histogram(
    "controller_runtime_reconcile_time_seconds",
    "Duration of a reconcile.",
    ["controller"],
    buckets=_TIMES,
    registry=REGISTRY,
)
REST_REQUESTS = Counter(
    "rest_client_requests_total", "Requests to the API server by answer.", ["code", "method"], registry=REGISTRY
)
WRITES = Counter(
    "freshet_operator_writes_total", "Changes of the cluster or of Kafka.", ["verb", "kind"], registry=REGISTRY
)
KAFKA_REQUESTS = Counter(
    "freshet_operator_kafka_requests_total", "Questions to Kafka by outcome.", ["result"], registry=REGISTRY
)
EVENTS_DROPPED = Counter(
    "freshet_operator_events_dropped_total",
    "Kubernetes Events not written, because too many waited.",
    registry=REGISTRY,
)
WATCH_MISSED = Counter(
    "freshet_operator_watch_missed_total", "Changes that a list showed and the watch had not.", registry=REGISTRY
)
WATCH_EVENT_TIME = Gauge(
    "freshet_operator_last_watch_event_timestamp_seconds",
    "When the watch of a kind last said something.",
    ["kind"],
    registry=REGISTRY,
)
LEADER = Gauge("leader_election_master_status", "1: this replica holds the lease.", ["name"], registry=REGISTRY)
UNREADABLE = Gauge(
    "freshet_operator_unreadable_namespaces", "Watched namespaces without the right to read them.", registry=REGISTRY
)
RESOURCES = Gauge("freshet_operator_resources", "Known custom resources.", ["kind"], registry=REGISTRY)


class Conditions(Collector):
    """The conditions of all FeatureSets, as kube-state-metrics shows those of other kinds: three series each, one is 1.

    Held as one text each, and made into series when somebody asks: thousands of gauges would take as much memory as all
    else that is known of the FeatureSets.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[tuple[str, str], ...]] = {}

    def show(self, namespace: str, name: str, conditions: Iterable[Object]) -> None:
        """A FeatureSet's status has these conditions now."""
        self._known[namespace, name] = tuple((one["type"], one["status"].lower()) for one in conditions)

    def forget(self, namespace: str, name: str) -> None:
        """The FeatureSet is gone."""
        self._known.pop((namespace, name), None)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """All series."""
        labels = ["namespace", "name", "type", "status"]
        found = GaugeMetricFamily("freshet_featureset_condition", "Condition of a FeatureSet.", labels=labels)
        for (namespace, name), conditions in list(self._known.items()):
            for type, holds in conditions:
                for status in ("true", "false", "unknown"):
                    found.add_metric([namespace, name, type, status], float(status == holds))
        yield found


CONDITIONS = Conditions()
REGISTRY.register(CONDITIONS)


def exposition() -> bytes:
    """All of them as text."""
    return generate_latest(REGISTRY)
