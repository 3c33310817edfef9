"""`freshet send` and `freshet simulate`: options in, events to ingest, a progress bar and a summary for people."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, tzinfo
from itertools import takewhile
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from freshet.dev.errors import CommandFailed
from freshet.dev.files import EventFile
from freshet.dev.pace import at_full_speed, at_rate, on_time
from freshet.dev.reshape import Reshape, parse_time
from freshet.dev.sender import Row, Sender, Summary
from freshet.dev.simulate import Sent, Traffic


@dataclass(frozen=True, slots=True)
class Options:
    """Of `freshet send`, as they were typed."""

    file: str
    url: str
    rate: float | None
    names: list[str]
    constants: list[str]
    timestamp: str
    event_id: str
    timezone: str
    shift_to_now: bool


def send_file(options: Options, console: Console) -> Summary:
    """Sends a file and prints the summary. Raises CommandFailed."""
    file = EventFile(options.file)
    names = _pairs("--map", options.names)
    _check_columns(file, names)
    reshape = Reshape(
        file=file.name,
        timestamp=options.timestamp,
        event_id=options.event_id,
        zone=_zone(options.timezone),
        names=names,
        constants={name: _constant(text) for name, text in _pairs("--const", options.constants).items()},
    )
    if options.shift_to_now:
        newest = reshape.newest(file.rows())
        if newest is None:
            raise CommandFailed(f'--shift-to-now: no row of {options.file} has a time in "{options.timestamp}"')
        reshape = replace(reshape, shift_seconds=time.time() - newest)
    rows = reshape.rows(file.rows())
    requests = at_full_speed(rows) if options.rate is None else at_rate(rows, options.rate)
    summary = _deliver(requests, options.url, console, file.count())
    console.print(summary_table(summary))
    return summary


def traffic(users: int, rate: float, seed: int, late: float, duplicates: float, start: str | None) -> Traffic:
    """The traffic that options mean. Raises CommandFailed for a start that is no time."""
    begin = time.time() if start is None else parse_time(start, UTC)
    if begin is None:
        raise CommandFailed(f'--start: "{start}" is not an ISO 8601 time, for example 2026-01-05T10:30:00Z')
    return Traffic(users, rate, seed, late, duplicates, begin)


def simulate_to_ingest(events: Traffic, duration: float | None, url: str, console: Console) -> Summary:
    """Sends traffic as it happens, for ever without a duration; Ctrl-C ends it. Raises CommandFailed."""
    timed = ((sent.at, row) for sent, row in numbered(_until(events, duration)))
    summary = _deliver(on_time(timed), url, console, None)
    console.print(summary_table(summary))
    return summary


def simulate_to_file(events: Traffic, duration: float, output: str) -> None:
    """Writes the traffic of so many seconds as NDJSON; `-` is standard output."""
    lines = (row.body + b"\n" for _, row in numbered(_until(events, duration)))
    if output == "-":
        sys.stdout.buffer.writelines(lines)
        sys.stdout.buffer.flush()
    else:
        with Path(output).open("wb") as file:
            file.writelines(lines)


def numbered(sent: Iterable[Sent]) -> Iterator[tuple[Sent, Row]]:
    """Each event with its row for the sender."""
    for number, one in enumerate(sent, 1):
        yield one, Row(number, msgspec.json.encode(one.event))


def summary_table(summary: Summary) -> Table:
    """What became of the events."""
    table = Table.grid(padding=(0, 2))
    speed = summary.total / summary.seconds if summary.seconds else 0.0
    table.add_row("[bold]accepted[/]", f"[green]{summary.accepted:,}[/]", f"{speed:,.0f} events/s")
    table.add_row("[bold]refused[/]", f"[{'red' if summary.refused else 'green'}]{summary.refused.total():,}[/]")
    for reason, count in summary.refused.most_common():
        shown = "; ".join(f"row {one.row}: {one.message}" for one in summary.examples[reason][:2])
        table.add_row(f"  {reason}", f"{count:,}", escape(shown))
    if summary.retries:
        table.add_row("[bold]sent again[/]", f"{summary.retries:,}", "requests, because ingest was busy or away")
    return table


def _deliver(requests: Iterable[list[Row]], url: str, console: Console, total: int | None) -> Summary:
    columns = (
        SpinnerColumn(),
        TextColumn("sending"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("sending", total=total, speed="")

        def show(summary: Summary) -> None:
            speed = f"{summary.total / summary.seconds:,.0f} events/s" if summary.seconds else ""
            progress.update(task, completed=summary.total, speed=speed)

        try:
            sender = Sender(url, told=show)
        except ValueError as error:
            raise CommandFailed(f"--url: {error}") from None
        try:
            sender.send(requests)
        except KeyboardInterrupt:
            sender.drain()
        finally:
            sender.close()
    return sender.summary


def _until(events: Traffic, duration: float | None) -> Iterator[Sent]:
    return takewhile(lambda sent: duration is None or sent.at < duration, events.events())


def _pairs(option: str, texts: list[str]) -> dict[str, str]:
    """`a=b,c=d`, over repeated options. Raises CommandFailed."""
    found: dict[str, str] = {}
    for pair in (part for text in texts for part in text.split(",")):
        name, separator, value = pair.partition("=")
        if not separator or not name.strip():
            raise CommandFailed(
                f'{option}: "{pair}" is not of the form event_field={"column" if "map" in option else "value"}'
            )
        found[name.strip()] = value.strip()
    return found


def _constant(text: str) -> Any:
    """A number or truth value as such, all else as text."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, int | float) else text


def _check_columns(file: EventFile, names: dict[str, str]) -> None:
    columns = file.columns()
    missing = [source for source in names.values() if columns is not None and source not in columns]
    if missing:
        raise CommandFailed(f"--map: {file.name} has no column {', '.join(missing)}; it has {', '.join(columns or [])}")


def _zone(name: str) -> tzinfo:
    if name == "UTC":  # needs no table of zones
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise CommandFailed(f'--timezone: "{name}" is no time zone; names are like UTC or Europe/Berlin') from None
