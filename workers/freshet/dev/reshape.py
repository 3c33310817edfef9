"""Foreign rows to events: names, constants, ids and times as the manifest wants them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Any

import msgspec

from freshet.dev.files import decode
from freshet.dev.sender import Row
from freshet.dev.simulate import rfc3339


@dataclass(frozen=True, slots=True)
class Reshape:
    """What to do with each row."""

    file: str
    """Name of the file: with the row's number it makes the id of an event that has none."""
    timestamp: str = "timestamp"
    event_id: str = "event_id"
    zone: tzinfo = UTC
    """Of times that have none."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Name in the event (dots go into nested objects) → name in the row."""
    constants: Mapping[str, Any] = field(default_factory=dict)
    """Name in the event → value."""
    shift_seconds: float = 0.0
    """Added to every time."""

    def rows(self, texts: Iterable[bytes]) -> Iterator[Row]:
        """The events. What is not a JSON object stays as it is, for ingest to refuse with its reason."""
        for number, text in enumerate(texts, 1):
            row = decode(text)
            yield Row(number, text if row is None else msgspec.json.encode(self._event(number, row)))

    def newest(self, texts: Iterable[bytes]) -> float | None:
        """The latest time of all rows, in seconds since 1970; None where no row has one."""
        source = self.names.get(self.timestamp, self.timestamp)
        times = (parse_time(row.get(source), self.zone) for text in texts if (row := decode(text)) is not None)
        return max((at for at in times if at is not None), default=None)

    def _event(self, number: int, row: dict[str, Any]) -> dict[str, Any]:
        moved = set(self.names.values())
        event = {name: value for name, value in row.items() if value is not None and name not in moved}
        for target, source in self.names.items():
            if row.get(source) is not None:
                _put(event, target, row[source])
        for target, value in self.constants.items():
            _put(event, target, value)
        event.setdefault(self.event_id, f"{self.file}:{number}")
        at = parse_time(event.get(self.timestamp), self.zone)
        if at is not None:
            event[self.timestamp] = rfc3339(at + self.shift_seconds)
        return event


def parse_time(value: Any, zone: tzinfo) -> float | None:
    """Seconds since 1970 of an ISO 8601 text or of epoch milliseconds; None for anything else."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value / 1000
    if not isinstance(value, str):
        return None
    try:
        at = datetime.fromisoformat(value)
        return (at if at.tzinfo else at.replace(tzinfo=zone)).timestamp()
    except (ValueError, OverflowError):
        return None


def _put(event: dict[str, Any], target: str, value: Any) -> None:
    *outer, last = target.split(".")
    for name in outer:
        inner = event.get(name)
        event = event.setdefault(name, {}) if isinstance(inner, dict) or inner is None else event
    event[last] = value
