"""A run from options to what is printed: a table for people or JSON for programs."""

from __future__ import annotations

import json

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from freshet.smoke.options import Options, Output
from freshet.smoke.report import Check, Report, Status
from freshet.smoke.run import run

_COLOURS = {Status.PASSED: "green", Status.FAILED: "bold red", Status.ABSENT: "yellow", Status.SKIPPED: "dim"}
_WORDS = {Status.PASSED: "passed", Status.FAILED: "FAILED", Status.ABSENT: "not there", Status.SKIPPED: "skipped"}


_WIDTH = 160
"""Of a log, which has no width of its own."""


def smoke(options: Options, output: Output) -> bool:
    """Runs and prints; whether nothing failed. Raises ConfigurationError, ManifestError."""
    console = Console(highlight=False)
    if output is Output.JSON:
        report = run(options)
        print(json.dumps(report.document(), indent=2))
        return report.good
    with console.status("") as status:
        report = run(options, lambda name: status.update(f"looking at: {name}"))
    wide = console if console.is_terminal else Console(highlight=False, width=max(console.width, _WIDTH))
    wide.print(table(report))
    wide.print(summary(report), soft_wrap=True)
    return report.good


def table(report: Report) -> Table:
    """One row a check, grouped by category."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    made.add_column("", justify="right")
    made.add_column("category")
    made.add_column("check")
    made.add_column("status", no_wrap=True)
    made.add_column("time", justify="right", no_wrap=True)
    made.add_column("what was seen", ratio=1)
    for category in report.categories:
        for place, check in enumerate(category.checks):
            number, name = (str(category.number), category.name) if place == 0 else ("", "")
            last = place == len(category.checks) - 1
            made.add_row(
                number, name, escape(check.name), _status(check), _time(check), _sentence(check), end_section=last
            )
    return made


def summary(report: Report) -> str:
    """The last line, with markup."""
    counts = report.counts()
    parts = [f"{counts[status.value]} {_WORDS[status].lower()}" for status in Status]
    colour, word = ("green", "passed") if report.good else ("bold red", "FAILED")
    about = f" of {escape(report.featureset)}" if report.featureset else ""
    return f"[{colour}]smoke test{about} {word}[/]: {', '.join(parts)}, in {report.seconds:.1f} s (entity {report.run})"


def _status(check: Check) -> str:
    return f"[{_COLOURS[check.status]}]{_WORDS[check.status]}[/]"


def _time(check: Check) -> str:
    return f"{check.seconds:.2f} s" if check.seconds >= 0.005 else ""


def _sentence(check: Check) -> str:
    return escape(check.sentence) + (f"\n[bold]→[/] {escape(check.advice)}" if check.advice else "")
