"""`freshet demo`: everything on this machine, traffic of a shop, its users' features live, and a check against SQL."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.markup import escape

from freshet.dev.errors import CommandFailed
from freshet.dev.exposition import quantiles, total
from freshet.dev.http import NOT_ANSWERED
from freshet.dev.live import Screen
from freshet.dev.reads import FeatureReader
from freshet.dev.run import calls, places, started
from freshet.dev.sender import Summary
from freshet.dev.simulate import user_name
from freshet.dev.stack import Ports, Stack
from freshet.dev.verify import Verdict, verify
from freshet.dev.visitors import Crowd, Visitors
from freshet.runtime.settings import KafkaSettings
from freshet.stores.postgres import connect

_SHOWN = tuple(user_name(number) for number in (0, 1, 4, 12, 40, 90, 180, 320))
_TICK_SECONDS = 1.0
_RECENT_READS = 200
_RECORDED_SECONDS = 20.0
"""History may be so far behind the last event."""


def demo(
    manifest: Path, duration: float | None, crowd: Crowd, ports: Ports, console: Console, *, history: bool = True
) -> bool:
    """Runs until Ctrl-C, or for `duration` seconds and then compares all that is served with SQL.

    Returns whether it was equal; True where Ctrl-C ended it. Raises CommandFailed, ManifestError.
    """
    good = duration is None  # asked for a check, only the check can say yes
    with started([manifest], None, ports, console, history=history) as stack:
        visitors = Visitors(stack.ingest_url, crowd)
        try:
            _watch(stack, visitors, duration, console)
            summary = visitors.stop()
            good = _check(stack, summary, console)
        finally:
            visitors.abandon()
    return good


def _watch(stack: Stack, visitors: Visitors, duration: float | None, console: Console) -> None:
    """Shows the features until the time is over."""
    console.print(calls(stack), "", sep="\n", soft_wrap=True)
    screen = Screen(places(stack))
    reader = FeatureReader(stack.serving_url, stack.featuresets[0].name)
    visitors.start()
    began = time.monotonic()
    accepted = 0
    try:
        with Live(screen, console=console, refresh_per_second=4):
            while duration is None or time.monotonic() - began < duration:
                tick = time.monotonic()
                screen.notes += [escape(story) for story in stack.check()]
                visitors.check()
                _refresh(screen, stack, visitors, reader)
                screen.figures.running = tick - began
                left = duration - (tick - began) if duration is not None else _TICK_SECONDS
                time.sleep(max(0.0, min(_TICK_SECONDS - (time.monotonic() - tick), left)))
                screen.figures.rate = (visitors.summary.accepted - accepted) / (time.monotonic() - tick)
                accepted = visitors.summary.accepted
    finally:
        reader.close()
        if not console.is_terminal:
            console.print()  # rich ends its last frame without a line's end there


def _refresh(screen: Screen, stack: Stack, visitors: Visitors, reader: FeatureReader) -> None:
    """New values; what does not answer for a moment keeps the old ones."""
    try:
        answers = reader.read_all(_SHOWN)
        screen.update({user: answer.values for user, answer in zip(_SHOWN, answers, strict=True)})
    except (*NOT_ANSWERED, CommandFailed) as error:
        screen.notes.append(f"serving: {error}")
    page = stack.hub.metrics()
    if not screen.caught_up:  # how long a week of history takes says nothing about freshness
        screen.history = page
        screen.caught_up = visitors.live.is_set() and total(page, "partition_lag") == 0
    median, slow = quantiles(page, "freshness_seconds", (0.5, 0.99), since=screen.history)
    screen.figures.freshness = (median, slow)
    recent = reader.seconds[-_RECENT_READS:]
    screen.figures.read_p50 = statistics.median(recent) if recent else None
    screen.figures.accepted = visitors.summary.accepted
    screen.phase = "Ctrl-C ends it" if visitors.live.is_set() else "sending a week of history"


def _check(stack: Stack, summary: Summary, console: Console) -> bool:
    with console.status("comparing what is served with SQL over the topic …"):
        settings = KafkaSettings(bootstrap=stack.kafka.bootstrap)
        verdict = verify(stack.featuresets[0], settings, stack.serving_url)
        recorded = _recorded(stack, verdict.records)
    problems = _problems(summary, verdict)
    if recorded not in (None, verdict.records):
        problems.append(f"history holds {recorded:,} events, the topic {verdict.records:,}")
    for problem in problems:
        console.print(f"[red]✗[/] {escape(problem)}")
    if not problems:
        console.print(
            f"[green]✓[/] {verdict.values:,} values of {verdict.entities:,} users are what DuckDB's SQL says of the "
            f"{verdict.records:,} events in the topic ({summary.accepted:,} were acknowledged)"
        )
        if recorded is not None:
            console.print(f"[green]✓[/] PostgreSQL holds all {recorded:,} of them once")
    return not problems


def _recorded(stack: Stack, records: int) -> int | None:
    """How many of the topic's records history holds once it has had a moment; None: there is no history."""
    if stack.postgres is None:
        return None
    topic = stack.featuresets[0].source.topic
    deadline = time.monotonic() + _RECORDED_SECONDS
    with connect(stack.postgres.url, autocommit=True) as connection:
        while True:
            row = connection.execute("SELECT count(*) FROM event_log WHERE topic = %s", (topic,)).fetchone()
            count = int(row[0]) if row else 0
            if count >= records or time.monotonic() > deadline:
                return count
            time.sleep(0.1)


def _problems(summary: Summary, verdict: Verdict) -> list[str]:
    found = [f"{count} events were refused: {reason}" for reason, count in summary.refused.items()]
    if summary.accepted == 0 or verdict.values == 0:
        found.append("no features were served")
    if verdict.records < summary.accepted:
        found.append(f"{summary.accepted:,} events were acknowledged but the topic holds {verdict.records:,}")
    if verdict.wrong:
        found.append(f"{len(verdict.wrong):,} of {verdict.values:,} values differ from SQL")
        found += [str(difference) for difference in verdict.wrong[:10]]
    return found
