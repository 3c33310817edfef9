"""A plan for people to read."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from freshet.dev.plan import Plan


def show(plan: Plan, console: Console) -> None:
    """Prints the plan."""
    copied = f", copied from {escape(plan.origin)}" if plan.origin else ""
    console.print(
        f"[bold]{plan.name}[/] {escape(plan.version)}, revision {plan.revision}: {plan.values} values of each "
        f"{escape(plan.entity)}, from {escape(plan.topic)} ({plan.partitions} partitions{copied})"
    )
    if plan.windows:
        windows = _table("window", "hop", "tiles at most", "values")
        for one in plan.windows:
            windows.add_row(one.window, one.hop, str(one.tiles), str(one.values))
        console.print(windows)
    shared = _table("accumulator", "of", "where", "kept in", "bytes", "read by")
    for part in plan.shared:
        size = "varies" if part.bytes is None else str(part.bytes)
        shared.add_row(part.accumulator, escape(part.of), escape(part.where), part.span, size, ", ".join(part.features))
    console.print(shared)
    annex = f", of which up to {plan.annex_limit_bytes:,} in the annex" if plan.annex_limit_bytes else ""
    console.print(f"bytes an entity: {plan.light_bytes:,} with 10 events, {plan.worst_bytes:,} at most{annex}")
    console.print(f"retention: {plan.retention_needed} needed to rebuild every window, {plan.retention} set")
    for warning in plan.warnings:
        console.print(f"[yellow]note:[/] {escape(warning)}")
    _change(plan, console)


def _change(plan: Plan, console: Console) -> None:
    change = plan.change
    if change is None:
        return
    for text in change.refused:
        console.print(f"[red]refused:[/] {escape(text)}")
    if change.rebuild:
        console.print("[bold]the change builds states anew[/], because of")
        for text in change.reasons:
            console.print(f"  {escape(text)}")
    for text in change.in_place:
        console.print(f"changes in place: {escape(text)}")
    if not (change.rebuild or change.in_place or change.refused):
        console.print("the change rebuilds nothing")


def _table(*names: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for name in names:
        table.add_column(name, overflow="fold")
    return table
