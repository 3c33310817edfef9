"""What the terminal shows while the demo runs: a few users' features, and how fresh and fast they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

Value = float | bool | str | None


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the table: a feature of examples/user-activity."""

    title: str
    feature: str
    show: Callable[[Any], str]
    width: int = 6
    right: bool = True


def _count(value: Any) -> str:
    return f"{value:,}"


def _money(value: Any) -> str:
    return f"{value:,.0f}"


def _idle(minutes: Any) -> str:
    seconds = minutes * 60
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{minutes:.0f} m" if minutes < 120 else f"{minutes / 60:.0f} h"


COLUMNS = (
    Column("events\n1h", "activity_count_1h", _count),
    Column("events\n7d", "activity_count_7d", _count),
    Column("bought\n24h", "purchase_count_24h", _count),
    Column("spent\n24h", "purchase_amount_24h", _money),
    Column("idle", "minutes_since_activity", _idle, 5),
    Column("here\nnow", "is_active_session", lambda value: "●" if value else "", 4),
    Column("score", "engagement_score", lambda value: f"{value:.1f}"),
    Column("churn\nrisk", "churn_risk", lambda value: f"{value:.0%}", 5),
    Column("segment", "user_segment", str, 7, False),
)


@dataclass
class Figures:
    """The line below the table. Durations are in seconds; None is not known yet."""

    accepted: int = 0
    rate: float = 0.0
    """Events a second, over the last second."""
    freshness: tuple[float | None, float | None] = (None, None)
    """p50 and p99."""
    read_p50: float | None = None
    running: float = 0.0


@dataclass
class Screen:
    """Draws the demo; remembers the last values, so that changed ones stand out."""

    places: RenderableType
    phase: str = "starting"
    figures: Figures = field(default_factory=Figures)
    users: dict[str, Mapping[str, Value]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    history: str = ""
    """Metrics as they were when the history was processed."""
    caught_up: bool = False
    """Whether it is."""
    _before: dict[str, Mapping[str, Value]] = field(default_factory=dict)

    def update(self, users: dict[str, Mapping[str, Value]]) -> None:
        """Takes new values."""
        self._before, self.users = self.users, users

    def __rich__(self) -> RenderableType:
        parts: list[RenderableType] = [self.places, Text(), self._table(), Text(), self._line()]
        parts += [Text(note, style="yellow") for note in self.notes[-5:]]
        title = f"[bold]Freshet[/]  user-activity, live  [dim]{self.phase}[/]"
        return Panel(Group(*parts), title=title, title_align="left", border_style="cyan", padding=(0, 1))

    def _table(self) -> Table:
        table = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False, header_style="bold cyan", expand=True)
        table.add_column("user", no_wrap=True, min_width=9)
        for column in COLUMNS:
            table.add_column(column.title, justify="right" if column.right else "left", min_width=column.width)
        for user, values in self.users.items():
            before = self._before.get(user, {})
            table.add_row(user, *(_cell(column, values.get(column.feature), before) for column in COLUMNS))
        return table

    def _line(self) -> Text:
        f = self.figures
        fresh, slow = (_milliseconds(value) for value in f.freshness)
        pairs = (
            (f"{f.accepted:,}", "events"),
            (f"{f.rate:,.0f}/s", "now"),
            (fresh, "fresh (p50)"),
            (slow, "(p99)"),
            (_milliseconds(f.read_p50), "read (p50)"),
            (f"{f.running:.0f} s", "up"),
        )
        line = Text()
        for figure, meaning in pairs:
            line.append(figure, style="bold green").append(f" {meaning}   ", style="dim")
        return line


def _cell(column: Column, value: Value, before: Mapping[str, Value]) -> Text:
    if value is None:
        return Text("–", style="dim")
    shown = column.show(value)
    old = before.get(column.feature)
    changed = column.feature in before and (old is None or column.show(old) != shown)
    style = "bold green" if changed else "green" if value is True else ""
    return Text(shown, style=style)


def _milliseconds(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    return f"{seconds * 1000:.1f} ms" if seconds < 0.01 else f"{seconds * 1000:,.0f} ms"
