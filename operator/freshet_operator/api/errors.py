"""What the API server answers when it does not do what it was asked."""

from __future__ import annotations

from typing import Any

_LONGEST = 600


class ApiError(Exception):
    """A request that failed. `status` 0: no answer came (refused, timed out, broken off)."""

    def __init__(
        self, status: int, reason: str, message: str, causes: tuple[str, ...] = (), retry_after: float | None = None
    ) -> None:
        super().__init__(f"{status} {reason}: {message}" if status else f"{reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.causes = causes
        """Machine-readable reasons, for example NamespaceTerminating."""
        self.retry_after = retry_after
        """Seconds that the server asks to wait."""

    @property
    def transient(self) -> bool:
        """Whether the same request may succeed later without anybody changing anything."""
        return self.status in (0, 401, 408, 409, 410, 429) or self.status >= 500

    @property
    def namespace_terminating(self) -> bool:
        """Whether it was refused because its namespace is being deleted."""
        return "NamespaceTerminating" in self.causes


def from_answer(status: int, body: Any, retry_after: str | None) -> ApiError:
    """The error that a Kubernetes `Status` object, or anything else in its place, means."""
    given = body if isinstance(body, dict) else {}
    details = given.get("details") or {}
    causes = tuple(str(cause.get("reason", "")) for cause in details.get("causes") or ())
    message = str(given.get("message") or body or "")[:_LONGEST]
    seconds = float(retry_after) if retry_after and retry_after.isdigit() else None
    return ApiError(status, str(given.get("reason") or "HTTPError"), message, causes, seconds)
