"""`freshet status`: what every service says of itself, and how far each partition is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from freshet.dev.http import NOT_ANSWERED, fetch

_ORDINARY = frozenset({"ok", "joined", "", "None"})
_SHOWN_ELSEWHERE = frozenset(
    {"ready", "featureset", "origin", "topic", "partitions", "rebuilding", "stopped", "lag", "kind"}
)


class Told(NamedTuple):
    """What one service says."""

    name: str
    """As `freshet dev` calls it, or its URL."""
    ready: bool
    details: Mapping[str, Any]


class Partition(NamedTuple):
    """One partition of one FeatureSet, or of an origin that is re-keyed, as its service tells."""

    featureset: str
    """Of an origin: where it is copied to."""
    partition: int
    state: str
    """complete, copied, rebuilding or stopped."""
    lag: int | None
    sentence: str


def ask(urls: Sequence[str]) -> list[Told]:
    """Asks the metrics ports of services, or that of `freshet dev`, which speaks for all of its services."""
    found: list[Told] = []
    for url in urls:
        try:
            document = fetch(url, "/ready").json()
        except NOT_ANSWERED as error:
            found.append(Told(url, False, {"problem": f"does not answer: {error}"}))
            continue
        except ValueError:
            found.append(Told(url, False, {"problem": "answers something that is not JSON: is it a metrics port?"}))
            continue
        parts = document.get("services") if isinstance(document, dict) else None
        if isinstance(parts, dict):
            found.extend(Told(name, bool(one.get("ready")), one) for name, one in parts.items())
        else:
            found.append(Told(url, bool(document.get("ready")), document))
    return found


def partitions(told: Sequence[Told]) -> list[Partition]:
    """All partitions that processors and re-keying stages have."""
    known = (service.details for service in told if not {"featureset", "origin"}.isdisjoint(service.details))
    return sorted(one for details in known for one in _partitions(details))


def _partitions(details: Mapping[str, Any]) -> Iterator[Partition]:
    lag, good = details.get("lag") or {}, "complete"
    if "featureset" in details:
        name = str(details["featureset"])
    else:
        name, good = f"{details['origin']} → {details['topic']}", "copied"
    rebuilding, stopped = details.get("rebuilding") or {}, details.get("stopped") or {}
    for p in {*map(int, details.get("partitions") or ()), *map(int, rebuilding), *map(int, stopped)}:
        key = str(p)
        if key in stopped:
            yield Partition(name, p, "stopped", lag.get(key), str(stopped[key]))
        elif key in rebuilding:
            yield Partition(name, p, "rebuilding", lag.get(key), str(rebuilding[key]["sentence"]))
        else:
            yield Partition(name, p, good, lag.get(key), "")


def document(told: Sequence[Told]) -> dict[str, Any]:
    """All of it as JSON."""
    return {
        "ready": all(service.ready for service in told),
        "services": {service.name: dict(service.details) for service in told},
        "partitions": [one._asdict() for one in partitions(told)],
    }


def show(told: Sequence[Told], console: Console) -> None:
    """Prints two tables."""
    services = Table(box=box.SIMPLE_HEAD, title="services", title_justify="left", title_style="bold")
    for heading in ("service", "ready", "it says"):
        services.add_column(heading)
    for one in told:
        services.add_row(escape(one.name), "[green]yes[/]" if one.ready else "[red]no[/]", escape(_says(one.details)))
    console.print(services)
    found = partitions(told)
    if not found:
        return
    table = Table(box=box.SIMPLE_HEAD, title="partitions", title_justify="left", title_style="bold")
    for heading in ("featureset", "partition", "state", "lag", ""):
        table.add_column(heading, justify="right" if heading in ("partition", "lag") else "left")
    colours = {"complete": "green", "copied": "green", "rebuilding": "yellow", "stopped": "red"}
    for p in found:
        state = f"[{colours[p.state]}]{p.state}[/]"
        lag = "" if p.lag is None else f"{p.lag:,}"
        table.add_row(escape(p.featureset), str(p.partition), state, lag, escape(p.sentence))
    console.print(table)


def _says(details: Mapping[str, Any]) -> str:
    """What is not as it always is, in one line."""
    told = [
        f"{name}: {_plain(value)}"
        for name, value in details.items()
        if name not in _SHOWN_ELSEWHERE and value and str(value) not in _ORDINARY
    ]
    return "; ".join(told)


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_plain(one)}" for name, one in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)
