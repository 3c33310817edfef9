"""Joining what belongs to partitions, as long as that spares more than it costs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

Owner = TypeVar("Owner")
Content = TypeVar("Content", bound=Sized)


def groups(parts: Iterable[tuple[Owner, Content]], size: int) -> Iterator[list[tuple[Owner, Content]]]:
    """Parts in order, joined until a group has `size` items; empty ones are left out."""
    group: list[tuple[Owner, Content]] = []
    items = 0
    for owner, content in parts:
        if not len(content):
            continue
        group.append((owner, content))
        items += len(content)
        if items >= size:
            yield group
            group, items = [], 0
    if group:
        yield group
