"""Times as texts: RFC 3339 in UTC with milliseconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(4096)
def rfc3339(ms: int) -> str:
    """`2026-01-05T10:30:00.000Z` for milliseconds since 1970 (of the years 1 to 9999)."""
    return (_EPOCH + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds")[:-6] + "Z"
