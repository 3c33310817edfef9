"""What the model stores of an entity, and what the log says it should be.

An image is a front (own offset, newest tile with the events in it, how many closed tiles belong to it) and a body of
closed tiles. Events are counted, two bits each, so that a lost and a doubled one can be told.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple


class Image(NamedTuple):
    """A state as it stands in memory or in the store."""

    offset: int
    tile: int
    events: int
    """Counts of the newest tile's events."""
    closed: int
    """How many closed tiles the front says there are."""
    body: tuple[tuple[int, int], ...]
    """(tile, counts of its events)."""


class Front(NamedTuple):
    """A write of an image's front only; the stored body stays."""

    offset: int
    tile: int
    events: int
    closed: int


Write = Image | Front
EMPTY = Image(0, -1, 0, 0, ())


def _count(events: int, offset: int) -> int:
    return events + (1 << 2 * offset) if (events >> 2 * offset) & 3 < 3 else events


class Log:
    """A partition's records: whose they are, in which tile, and which repeats an earlier one."""

    def __init__(self, entities: str, tiles: str, repeats: tuple[tuple[int, int], ...]) -> None:
        """`repeats` holds (offset, offset of the event that it repeats)."""
        self.entity = tuple(ord(e) - ord("X") for e in entities)
        self.tile = tuple(map(int, tiles or "0" * len(entities)))
        same = dict(repeats)
        self.id = tuple(same.get(o, o) for o in range(len(entities)))
        self.end = len(entities)
        self.apply = cache(self._apply)
        self.expected = cache(self._expected)

    def _apply(self, image: Image | None, offset: int) -> Image:
        before = image or EMPTY
        tile, body = self.tile[offset], list(before.body)
        newest, events = before.tile, before.events
        if tile == newest:
            events = _count(events, offset)
        elif tile > newest:
            if newest >= 0:
                body.append((newest, events))
            newest, events = tile, _count(0, offset)
        else:
            row = dict(body)
            row[tile] = _count(row.get(tile, 0), offset)
            body = sorted(row.items())
        return Image(max(before.offset, offset + 1), newest, events, len(body), tuple(body))

    def _expected(self, entity: int, offset: int) -> Image | None:
        """The image of an entity after all events below `offset`."""
        image: Image | None = None
        for o in range(offset):
            if self.entity[o] == entity and self.id[o] == o:
                image = self.apply(image, o)
        return image


def write_of(image: Image, stored: Image | None) -> Write:
    """The smallest write that turns `stored` into `image`: its front if the body is the same."""
    if stored is not None and stored.body == image.body:
        return Front(*image[:4])
    return image


def written(write: Write, stored: Image | None) -> Image:
    """What the store holds after a write. A front over another body gives a torn image."""
    if isinstance(write, Image):
        return write
    return Image(*write, stored.body if stored is not None else ())


def whole(image: Image) -> bool:
    """Whether the value has the length that its front says."""
    return image.closed == len(image.body)


def problem(log: Log, entity: int, image: Image | None, progress: int) -> str | None:
    """What is wrong with a stored image while progress is at `progress`."""
    if image is not None and not whole(image):
        return "S4 torn value"
    offset = image.offset if image is not None else 0
    needed = log.expected(entity, progress)
    if needed is not None and offset < needed.offset:
        return "S1 event lost"
    expected = log.expected(entity, offset)
    if image == expected:
        return None
    counts = [0] * log.end
    for _, events in ((image.tile, image.events), *image.body) if image is not None else ():
        for o in range(log.end):
            counts[o] += (events >> 2 * o) & 3
    if any(n > 1 or (n and log.id[o] != o) for o, n in enumerate(counts)):
        return "S2 event twice"
    return "S1 gap below the state's own offset"
