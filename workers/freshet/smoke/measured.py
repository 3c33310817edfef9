"""11: how fast it is from here, beside generous limits. A look, not a benchmark: one client, one after the other."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

from freshet.smoke import events
from freshet.smoke.report import Check, NotChecked, failed, passed, skipped
from freshet.smoke.state import Run

_READS = 200
_WARM = 10
_BATCH = 200
_LONGEST_SECONDS = 10.0


def checks(run: Run) -> Iterator[Check]:
    """Reads of one entity one by one, and one batch of events."""
    yield _reads(run)
    yield _batch(run)
    if run.readable_seconds is None:
        yield skipped("freshness", "the values did not become right (see 5)")
    else:
        yield passed(
            "freshness", f"readable at most {run.readable_seconds * 1000:.0f} ms after the last event was accepted"
        )


def _reads(run: Run) -> Check:
    name, limit = "reads", run.options.read_limit_ms
    for _ in range(_WARM):
        answer = run.read(run.key)
        if answer.status != 200:
            raise NotChecked(f"GET /features answers {answer.said()} (see 3)")
    taken: list[float] = []
    end = time.monotonic() + run.deadline.at_most(_LONGEST_SECONDS)
    while len(taken) < _READS and time.monotonic() < end:
        begin = time.perf_counter()
        answer = run.read(run.key)
        taken.append((time.perf_counter() - begin) * 1000)
        if answer.status != 200:
            advice = "see serving's log and the store (see 9)"
            return failed(name, f"read {len(taken)} answers {answer.said()}", advice)
    p50, p99 = _quantile(taken, 0.5), _quantile(taken, 0.99)
    sentence = f"{len(taken)} reads: p50 {p50:.1f} ms, p99 {p99:.1f} ms; limit of p99 {limit:g} ms"
    if p99 <= limit:
        return passed(name, sentence)
    return failed(name, sentence, "give serving more CPU or replicas; over a slow line give --read-limit-ms")


def _quantile(values: list[float], share: float) -> float:
    """By nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered) + 0.4999) - 1))]


def _batch(run: Run) -> Check:
    name, limit = "ingest", run.options.ingest_limit
    if run.sent is None:
        return skipped(name, "events are not taken (see 4)")
    made = events.copies(run.sent.plan.events[0], run.key, f"{run.key}-load", _BATCH)
    body = json.dumps(made).encode()
    begin = time.perf_counter()
    answer = run.post(body)
    seconds = time.perf_counter() - begin
    if answer.status != 202 or answer.json().get("accepted") != _BATCH:
        return failed(name, f"a batch of {_BATCH} events: {answer.said()}", "see ingest's GET /ready and log")
    rate = _BATCH / seconds
    sentence = f"a batch of {_BATCH} events acknowledged in {seconds * 1000:.0f} ms ({rate:,.0f}/s); limit {limit:g}/s"
    if rate >= limit:
        return passed(name, sentence)
    return failed(name, sentence, "see Kafka's acknowledgement time; over a slow line give --ingest-limit")
