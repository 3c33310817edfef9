"""12: do the services give the metrics by the names that dashboards and alerts ask for?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from freshet.smoke.http import Client
from freshet.smoke.report import Check, absent, failed, passed, skipped
from freshet.smoke.state import Run

CONTRACT = (
    "events_processed_total",
    "events_failed_total",
    "feature_computation_seconds",
    "cache_hits_total",
    "cache_misses_total",
)
"""The user's names that exist in this version."""
_LATER = {"ab_variant_assignments": "experiments", "drift metrics": "drift monitor"}
_INGEST = ("events_accepted_total", "events_refused_total", "http_request_seconds")
_SERVING = ("feature_computation_seconds", "cache_hits_total", "cache_misses_total", "http_request_seconds")
_PROCESSOR = (
    *CONTRACT,
    "events_duplicate_total",
    "events_late_total",
    "flush_seconds",
    "freshness_seconds",
    "partition_lag",
)


def checks(run: Run) -> Iterator[Check]:
    """The pages of ingest and serving, those of processors where they are given, and what does not exist."""
    for client, wanted in ((run.ingest, _INGEST), (run.serving, _SERVING)):
        if client.url in run.down:
            yield skipped(client.name, f"{client.name} does not answer (see 1)")
        else:
            yield _page(client, wanted)
    yield from _processors(run)
    for name, what in _LATER.items():
        yield absent(name, f"this version has no {what}: nothing was checked")


def _page(client: Client, wanted: Sequence[str]) -> Check:
    answer = client.get("/metrics")
    page = answer.body.decode(errors="replace")
    if answer.status != 200:
        return failed(client.name, f"GET /metrics answers {answer.status}", f"check {client.option}")
    missing = [name for name in wanted if not declared(page, name)]
    if missing:
        advice = f"it is another version or another service: check {client.option}"
        return failed(client.name, f"not in GET /metrics: {', '.join(missing)}", advice)
    return passed(client.name, f"has {', '.join(wanted)}")


def _processors(run: Run) -> Iterator[Check]:
    """A page is a processor's if it counts events of a FeatureSet; all names are on the pages of all services."""
    found = False
    for client in run.metrics:
        if client.url in run.down:
            continue
        page = client.get("/metrics").body.decode(errors="replace")
        if total(page, "partition_lag") is None:
            continue
        found = True
        missing = [name for name in _PROCESSOR if not declared(page, name)]
        if missing:
            advice = "it is another version of the processor: check its image"
            yield failed("processor", f"not in GET /metrics of {client.url}: {', '.join(missing)}", advice)
        else:
            counted = total(page, "events_processed_total") or 0
            yield passed("processor", f"has {', '.join(_PROCESSOR)}; {counted:,.0f} events processed")
    if not found:
        sentence = "no page of a processor that works on partitions: --metrics URL, once for each processor"
        yield skipped("processor", sentence)


def declared(page: str, name: str) -> bool:
    """Whether a page in Prometheus' text format has this metric."""
    return any(line.startswith((f"# TYPE {name} ", f"{name}{{", f"{name} ")) for line in page.splitlines())


def total(page: str, name: str) -> float | None:
    """The sum of a metric's samples; None where there is none."""
    found = [line for line in page.splitlines() if line.startswith((f"{name}{{", f"{name} "))]
    return sum(float(line.rsplit("}", 1)[-1].split()[0 if "}" in line else 1]) for line in found) if found else None
