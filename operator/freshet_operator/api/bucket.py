"""A token bucket: bursts pass, a sustained flood is spread."""

from __future__ import annotations

import asyncio
import time


class TokenBucket:
    """Lets `rate` requests pass per second, and up to `burst` at once."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._tokens = float(burst)
        self._filled = time.monotonic()

    async def take(self) -> None:
        """Returns when one more request may be sent; first come, first served."""
        now = time.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._filled) * self._rate)
        self._filled = now
        self._tokens -= 1.0
        if self._tokens < 0:
            await asyncio.sleep(-self._tokens / self._rate)
