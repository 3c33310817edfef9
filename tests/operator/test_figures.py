"""Figures from processors' expositions."""

from __future__ import annotations

import math

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from freshet_operator.observe.figures import parse, percentile_ms, together


def exposition(busy: float, freshness: list[float], lags: dict[str, int] | None = None) -> str:
    registry = CollectorRegistry()
    Counter("processor_busy_seconds_total", "", ["featureset"], registry=registry).labels("a").inc(busy)
    lag = Gauge("partition_lag", "", ["featureset", "partition"], registry=registry)
    for partition, events in (lags or {}).items():
        lag.labels("a", partition).set(events)
    seconds = Histogram("freshness_seconds", "", ["featureset"], buckets=(0.05, 0.1, 0.2), registry=registry)
    for value in freshness:
        seconds.labels("a").observe(value)
    return generate_latest(registry).decode()


def test_the_exposition_of_the_library_is_read() -> None:
    reading = parse(exposition(12.5, [0.01, 0.15, 7.0]), 100)
    assert reading.busy == 12.5
    assert reading.buckets == {0.05: 1, 0.1: 1, 0.2: 2, math.inf: 3}


def test_the_busiest_pod_and_all_pods_freshness_of_the_interval() -> None:
    before = parse(exposition(10, [0.01] * 1000), 100)
    calm = parse(exposition(11, [0.01] * 1000), 110)
    hot = parse(exposition(19, [0.01] * 1000 + [0.15] * 100), 110)
    found = together([(before, calm), (before, hot)])
    assert found is not None
    assert found.pods == 2
    assert found.busy == pytest.approx(0.9)
    assert found.freshness_ms == pytest.approx(199)


def test_the_first_look_and_a_restarted_pod_say_nothing_of_rates() -> None:
    first = together([(None, parse(exposition(10, [0.01]), 100))])
    assert first is not None
    assert (first.pods, first.busy, first.freshness_ms) == (1, None, None)
    restarted = together([(parse(exposition(50, []), 100), parse(exposition(1, []), 110))])
    assert restarted is not None
    assert restarted.busy is None
    assert together([]) is None


def test_a_percentile_beyond_the_last_bound_is_that_bound() -> None:
    assert percentile_ms({0.1: 0, math.inf: 10}, 0.99) == 100
    assert percentile_ms({}, 0.99) is None


def test_the_lag_of_all_partitions_each_counted_once() -> None:
    first = parse(exposition(0, [], {"0": 5, "1": 70}), 100)
    second = parse(exposition(0, [], {"1": 60, "2": 0}), 100)
    found = together([(None, first), (None, second)])
    assert found is not None
    assert found.lag == 75
    nothing = together([(None, parse(exposition(0, []), 100))])
    assert nothing is not None
    assert nothing.lag is None
