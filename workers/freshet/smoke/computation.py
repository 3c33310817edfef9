"""5: does what was sent come out as the right values?"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from freshet.smoke.judge import Guessed, Judge, Known, Verdict
from freshet.smoke.report import Check, NotChecked, failed, passed, skipped
from freshet.smoke.state import Run, Sent

_NAME = "served values"
_SETTLED_SECONDS = 0.5
"""Values that are right must still be right after it: nothing is counted twice later."""
_SHARE = 0.5
"""Of the run's whole time: the longest wait for the values."""


def checks(run: Run) -> Iterator[Check]:
    """Waits until the synthetic entity's values are what its events make them, once each."""
    sent = run.sent
    if sent is None:
        raise NotChecked("the events were not sent (see 4)")
    found = run.definition()
    details = run.details()
    judge: Judge = Known(found.definition, sent.plan) if found else Guessed(details["features"], sent.plan)
    patience = run.deadline.at_most(run.deadline.seconds * _SHARE)
    verdict = _until_right(run, judge, time.monotonic() + patience)
    if verdict.right:
        run.readable_seconds = time.monotonic() - sent.last
        run.deadline.at_most(_SETTLED_SECONDS)
        time.sleep(_SETTLED_SECONDS)
        verdict = _look(run, judge)
    yield _judged(run, sent, judge, verdict, patience)
    yield _once(sent, verdict)


def _until_right(run: Run, judge: Judge, end: float) -> Verdict:
    while True:
        verdict = _look(run, judge)
        if verdict.right or verdict.twice or time.monotonic() >= end:  # what was counted twice stays so
            return verdict
        time.sleep(0.05)


def _look(run: Run, judge: Judge) -> Verdict:
    answer = run.read(run.key, bounds=True)
    if answer.status != 200:
        return Verdict(problems=[f"GET /features answers {answer.said()}"])
    features: dict[str, Any] = answer.json().get("features", {})
    return judge.look(features)


def _judged(run: Run, sent: Sent, judge: Judge, verdict: Verdict, patience: float) -> Check:
    count = len(sent.plan.events)
    if verdict.right:
        seconds = run.readable_seconds or 0.0
        return passed(
            _NAME,
            f"{verdict.compared} values are what {count} events make them, within {seconds:.2f} s{judge.left_out}",
        )
    if verdict.unseen:
        sentence = f"none of the {count} events is in the values after {patience:.0f} s"
        advice = (
            "see that a processor of this FeatureSet runs and is not behind: its GET /ready, partition_lag, its log"
        )
        return failed(_NAME, sentence, advice)
    if verdict.unsure:
        return skipped(
            _NAME, f"the events have arrived, but {verdict.unsure}; --manifest FILE tells what values must be"
        )
    shown = "; ".join(verdict.problems[:3])
    more = f" and {len(verdict.problems) - 3} more" if len(verdict.problems) > 3 else ""
    advice = "a processor that is behind (partition_lag) catches up: run again; values that stay wrong are a bug"
    return failed(_NAME, f"after {patience:.0f} s: {shown}{more}", advice)


def _once(sent: Sent, verdict: Verdict) -> Check:
    name = "duplicates"
    if verdict.twice:
        advice = "the duplicate filter has let it through: see the processor's log and report it"
        if sent.plan.counts_once is None:
            return skipped(
                name, "an event sent twice counts twice: right only if spec.source.deduplicate is 0s; --manifest tells"
            )
        return failed(name, "the event that was sent twice is counted twice", advice)
    if not verdict.right:
        return skipped(name, "seen only when the values are right")
    if sent.plan.counts_once is False:
        return passed(name, "an event sent twice counts twice, as deduplicate: 0s says")
    return passed(name, "the event that was sent twice is counted once")
