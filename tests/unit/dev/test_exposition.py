"""Pages of several services become one that Prometheus accepts."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from freshet.dev.exposition import merge, quantiles, total


def page(**values: float) -> str:
    registry = CollectorRegistry()
    processed = Counter("events_processed_total", "Events.", ["featureset"], registry=registry)
    for name, value in values.items():
        processed.labels(name).inc(value)
    Gauge("memory_bytes", 'A help text with {braces} and "quotes".', registry=registry).set(7)
    return generate_latest(registry).decode()


def test_every_family_is_described_once_and_every_sample_names_its_service() -> None:
    merged = merge({"one": page(clicks=3), "two": page(clicks=4, orders=5)})
    families = list(text_string_to_metric_families(merged))
    names = [family.name for family in families]
    assert len(names) == len(set(names))
    assert merged.count("# TYPE events_processed_total") == 1
    samples = {(s.name, tuple(sorted(s.labels.items()))): s.value for f in families for s in f.samples}
    assert samples["events_processed_total", (("featureset", "clicks"), ("service", "one"))] == 3
    assert samples["events_processed_total", (("featureset", "clicks"), ("service", "two"))] == 4
    assert samples["memory_bytes", (("service", "two"),)] == 7


def test_a_service_that_does_not_answer_is_left_out() -> None:
    assert 'service="one"' not in merge({"one": "", "two": page(clicks=1)})


def test_a_label_value_with_a_space_stays_as_it_is() -> None:
    given = '# TYPE x_total counter\nx_total{reason="not json"} 2\n'
    assert merge({"a": given}).splitlines()[1] == 'x_total{service="a",reason="not json"} 2'


def test_total_adds_the_samples_with_the_labels() -> None:
    merged = merge({"one": page(clicks=3), "two": page(clicks=4, orders=5)})
    assert total(merged, "events_processed_total") == 12
    assert total(merged, "events_processed_total", featureset="clicks") == 7
    assert total(merged, "memory_bytes", service="one") == 7
    assert total(merged, "nothing") == 0


def test_quantiles_are_linear_within_a_bucket() -> None:
    registry = CollectorRegistry()
    seconds = Histogram("wait_seconds", "Waits.", buckets=(0.1, 0.2, 1.0), registry=registry)
    assert quantiles(generate_latest(registry).decode(), "wait_seconds", (0.5,)) == [None]
    for value in [0.05] * 50 + [0.15] * 40 + [0.5] * 9 + [5.0]:
        seconds.observe(value)
    p25, p50, p70, p100 = quantiles(generate_latest(registry).decode(), "wait_seconds", (0.25, 0.5, 0.7, 1.0))
    assert p25 == pytest.approx(0.05)
    assert p50 == pytest.approx(0.1)
    assert p70 == pytest.approx(0.15)
    assert p100 == 1.0


def test_quantiles_of_what_came_after_an_earlier_page() -> None:
    registry = CollectorRegistry()
    seconds = Histogram("wait_seconds", "Waits.", buckets=(0.1, 0.2, 1.0), registry=registry)
    seconds.observe(0.9)
    before = generate_latest(registry).decode()
    assert quantiles(before, "wait_seconds", (0.5,), since=before) == [None]
    seconds.observe(0.05)
    assert quantiles(generate_latest(registry).decode(), "wait_seconds", (1.0,), since=before) == [pytest.approx(0.1)]
