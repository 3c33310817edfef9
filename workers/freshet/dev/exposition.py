"""Metrics of several processes as one page, in Prometheus' text format.

Each sample gets a label `service`, so that two processes with the same metric stay apart; a family is described once,
as the format demands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def merge(pages: Mapping[str, str]) -> str:
    """One page of the pages by service name."""
    described: dict[str, dict[str, str]] = {}
    samples: dict[str, list[str]] = {}
    for service, page in pages.items():
        family = ""
        for line in page.splitlines():
            if line.startswith(("# HELP ", "# TYPE ")):
                _, word, family, *_ = line.split(" ", 3)
                described.setdefault(family, {}).setdefault(word, line)
            elif line and not line.startswith("#"):
                samples.setdefault(family, []).append(_labelled(line, service))
    lines: list[str] = []
    for family, about in described.items():
        lines += [about[word] for word in ("HELP", "TYPE") if word in about]
        lines += samples.get(family, [])
    return "\n".join(lines) + "\n"


def total(page: str, metric: str, **labels: str) -> float:
    """The sum of a metric's samples that carry these labels; 0 where there is none."""
    wanted = [f'{name}="{value}"' for name, value in labels.items()]
    found = 0.0
    for line in page.splitlines():
        name, _, rest = line.partition("{") if "{" in line else line.partition(" ")
        if name == metric and all(label in rest for label in wanted):
            found += float(line.rsplit("}", 1)[-1].split()[0] if "{" in line else rest.split()[0])
    return found


def quantiles(page: str, histogram: str, wanted: Sequence[float], since: str = "") -> list[float | None]:
    """Values below which these shares of the observations lie, linear within a bucket; None without observations.

    With `since`, an earlier page, only what was observed after it counts.
    """
    before = _buckets(since, histogram)
    steps = sorted((bound, count - before.get(bound, 0.0)) for bound, count in _buckets(page, histogram).items())
    if not steps or steps[-1][1] == 0:
        return [None] * len(wanted)
    return [_at_rank(steps, share * steps[-1][1]) for share in wanted]


def _buckets(page: str, histogram: str) -> dict[float, float]:
    """Upper bound → observations at or below it, over all labels."""
    found: dict[float, float] = {}
    for line in page.splitlines():
        if line.startswith(histogram + "_bucket{"):
            bound = float(line.split('le="', 1)[1].split('"', 1)[0])
            found[bound] = found.get(bound, 0.0) + float(line.rsplit("}", 1)[1].split()[0])
    return found


def _at_rank(steps: Sequence[tuple[float, float]], rank: float) -> float:
    low, below = 0.0, 0.0
    for bound, count in steps:
        if count >= rank:
            # The last bucket has no upper bound: its lower one is all that is known.
            return low if bound == float("inf") else low + (bound - low) * (rank - below) / max(count - below, 1.0)
        low, below = bound, count
    return low


def _labelled(line: str, service: str) -> str:
    brace, space = line.find("{"), line.find(" ")
    if 0 <= brace < space:
        return f'{line[: brace + 1]}service="{service}",{line[brace + 1 :]}'
    return f'{line[:space]}{{service="{service}"}}{line[space:]}'
