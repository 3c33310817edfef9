"""Features as serving answers them, and how long that took."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import quote

from freshet.dev.errors import CommandFailed
from freshet.dev.http import Connection


class Answered(NamedTuple):
    """One entity's features."""

    q_ms: int
    """Read time, ms since 1970: the answer's computed_at."""
    values: dict[str, Any]


@dataclass
class FeatureReader:
    """Reads on one kept connection. Close it after use."""

    url: str
    featureset: str
    seconds: list[float] = field(default_factory=list)
    """Of each read so far."""

    def __post_init__(self) -> None:
        self._connection = Connection(self.url)

    def read(self, key: str) -> Answered:
        """All features of one entity. Raises CommandFailed for another answer than 200, else one of NOT_ANSWERED."""
        began = time.perf_counter()
        answer = self._connection.get(f"/features/{quote(key, safe='')}?featureset={quote(self.featureset)}")
        self.seconds.append(time.perf_counter() - began)
        if answer.status != 200:
            told = answer.body[:300].decode(errors="replace")
            raise CommandFailed(f"GET /features/… answered {answer.status}: {told}")
        features = answer.json()["features"]
        moments = {entry["computed_at"] for entry in features.values()}
        (moment,) = moments or {"1970-01-01T00:00:00.000Z"}
        q_ms = round(datetime.fromisoformat(moment).timestamp() * 1000)
        return Answered(q_ms, {name: entry["value"] for name, entry in features.items()})

    def read_all(self, keys: Sequence[str]) -> list[Answered]:
        """Each entity's features, one request after another. Raises as `read`."""
        return [self.read(key) for key in keys]

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()
