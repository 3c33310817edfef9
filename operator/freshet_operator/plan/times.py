"""Times as Kubernetes writes them: RFC 3339, UTC, whole seconds."""

from __future__ import annotations

import datetime


def time_text(ms: int) -> str:
    """Milliseconds since 1970 as `2026-01-05T10:00:00Z`; parts of a second are dropped."""
    return datetime.datetime.fromtimestamp(ms // 1000, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def time_ms(text: str | None) -> int | None:
    """The reverse; None where there is none, or where somebody has written something else."""
    if not text:
        return None
    try:
        return int(datetime.datetime.fromisoformat(text).timestamp() * 1000)
    except (ValueError, TypeError, OverflowError):
        return None
