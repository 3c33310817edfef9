"""What serving counts, aggregated in process: children of labelled metrics are looked up once."""

from __future__ import annotations

from functools import lru_cache

from prometheus_client import Histogram

from freshet.runtime import metrics


@lru_cache(1024)
def _request_time(route: str, status: int) -> Histogram:
    return metrics.HTTP_REQUEST_SECONDS.labels(route, str(status))


def request(route: str, status: int, seconds: float) -> None:
    """A request was answered; `route` is a pattern, never a path."""
    _request_time(route, status).observe(seconds)


def cache(featureset: str, hits: int, misses: int) -> None:
    """States looked up in the in-process cache."""
    if hits:
        metrics.CACHE_HITS.labels(featureset).inc(hits)
    if misses:
        metrics.CACHE_MISSES.labels(featureset).inc(misses)


def stale(featureset: str, reason: str) -> None:
    """An entity was answered from its last recorded vector; `reason` is the code of the problem."""
    metrics.STALE_ANSWERS.labels(featureset, reason).inc()


def computed(featureset: str, seconds: float, nulls: int) -> None:
    """A vector was computed from states; `nulls` values were not representable."""
    metrics.FEATURE_COMPUTATION_SECONDS.labels(featureset).observe(seconds)
    if nulls:
        metrics.EXPRESSION_NULLS.labels(featureset).inc(nulls)
