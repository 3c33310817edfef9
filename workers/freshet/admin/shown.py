"""Dead letters and receipts in the terminal."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.progress import Progress
from rich.table import Table

from freshet.admin import letters
from freshet.admin.erasure import Receipt
from freshet.admin.installation import Installation
from freshet.admin.judge import Outcome, Verdict
from freshet.admin.letters import Content, Filter, Letter, Stat

_SHOWN = 50
"""Letters that are listed one by one after a replay."""
GOOD = (Outcome.ACCEPTED, Outcome.REPLAYED)
"""What whoever named a letter wanted."""


def _time(at: datetime) -> str:
    return at.isoformat(" ", "seconds").replace("+00:00", "Z")


def table(found: Sequence[Letter]) -> RenderableType:
    """A row a letter."""
    if not found:
        return "no dead letters"
    out = Table("ID", "FEATURESET", "REASON", "STATUS", "FIRST SEEN", "WHY", box=None, pad_edge=False)
    for letter in found:
        row = (letter.id, letter.featureset, letter.reason, letter.status, _time(letter.first_seen), letter.sentence)
        out.add_row(*map(escape, row))
    return out


def details(letter: Letter) -> RenderableType:
    """Everything but key and payload."""
    out = Table(box=None, show_header=False, pad_edge=False)
    revision = letter.place.owner.rpartition("/")[2]
    for name, value in {
        "id": letter.id,
        "refused by": f"{letter.featureset}, revision {revision}",
        "reason": letter.reason,
        "why": letter.sentence,
        "broker time": _time(letter.source_time),
        "first seen": _time(letter.first_seen),
        "status": f"{letter.status}, since {_time(letter.changed_at)}",
        "sent again as": "" if letter.replayed is None else f"offset {letter.replayed[1]} of {letter.replayed[0]}",
        "payload": f"{letter.size} bytes" if letter.has_payload else "none: the record had no value",
    }.items():
        if value:
            out.add_row(name, escape(value))
    return out


def content(held: Content) -> RenderableType:
    """Key and payload, as text if they are text."""
    parts = {"key": held.key, "payload": held.payload}
    return Group(*(Panel(escape(_text(data)), title=name) for name, data in parts.items() if data is not None))


def _text(data: bytes) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return "not text; base64: " + base64.b64encode(data).decode()
    # What a record holds must not steer the terminal that shows it.
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\u{ord(c):04x}" for c in text)


def content_json(held: Content) -> dict[str, Any]:
    """Key and payload, each as text or else as base64."""
    out: dict[str, Any] = {}
    for name, data in (("key", held.key), ("payload", held.payload)):
        try:
            out[name] = None if data is None else data.decode()
        except UnicodeDecodeError:
            out[f"{name}_base64"] = base64.b64encode(data or b"").decode()
    return out


def stats_table(found: Sequence[Stat]) -> RenderableType:
    """A row a kind."""
    if not found:
        return "no dead letters"
    out = Table("FEATURESET", "REASON", "STATUS", box=None, pad_edge=False)
    out.add_column("COUNT", justify="right")
    out.add_column("OLDEST")
    out.add_column("NEWEST")
    for stat in found:
        names = map(escape, (stat.featureset, stat.reason, stat.status))
        out.add_row(*names, f"{stat.count:,}", _time(stat.oldest), _time(stat.newest))
    return out


def verdicts(found: Sequence[Verdict], *, dry_run: bool) -> RenderableType:
    """How many of each outcome, and what kept the others from being sent."""
    if not found:
        return "no open dead letters fit"
    counts = Counter(verdict.outcome for verdict in found)
    head = ", ".join(f"{count:,} {outcome.value}" for outcome, count in counts.most_common())
    told = [verdict for verdict in found if dry_run or verdict.outcome not in GOOD]
    out = Table("ID", "FEATURESET", "OUTCOME", "WHY", box=None, pad_edge=False)
    for verdict in told[:_SHOWN]:
        letter = verdict.letter
        out.add_row(*map(escape, (letter.id, letter.featureset, verdict.outcome.value, verdict.sentence)))
    more = [f"… and {len(told) - _SHOWN:,} more; --output json has all"] if len(told) > _SHOWN else []
    title = "would be: " if dry_run else ""
    return Group(title + head, *([out] if told else []), *more)


@contextmanager
def progress(
    console: Console, installation: Installation, filters: Sequence[Filter], limit: int | None, *, show: bool
) -> Iterator[Callable[[int], None]]:
    """A bar over the open letters that fit; nothing where there is no terminal."""
    if not show or not console.is_terminal:
        yield lambda count: None
        return
    with installation.history() as connection:
        opened = [replace(one, statuses=("open",)) for one in filters]
        total = sum(stat.count for one in opened for stat in letters.stats(connection, one))
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("dead letters", total=total if limit is None else min(limit, total))
        yield lambda count: bar.advance(task, count)


def receipt(found: Receipt) -> RenderableType:
    """What was removed, and what Kafka still keeps until when."""
    lines = [f"erasure {found.request_id}, requested {_time(found.requested_at)}"]
    for part in found.topics:
        place = "not in the log yet" if part.offset is None else f"offset {part.offset} of partition {part.partition}"
        lines.append(f"{part.topic}: {part.state} ({place})")
        removed = ", ".join(f"{table} {count:,}" for table, count in sorted(part.removed.items()))
        if part.applied_at is not None:
            lines.append(f"  history: removed by {_time(part.applied_at)}: {removed or 'nothing'}")
        for one in part.online:
            stored = {True: "a state of later events only", False: "nothing stored", None: "the store does not answer"}
            lines.append(f"  {one.featureset}: {stored[one.stored] if one.done else 'not reset yet'}")
        for topic, until in sorted(part.kept_until.items()):
            kept = "for ever: its retention is unlimited" if until is None else f"until {_time(until)} at the latest"
            lines.append(f"  Kafka keeps older records of {topic} {kept}")
    return escape("\n".join(lines))
