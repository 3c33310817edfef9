"""Asking pods by HTTP: bounded in time, in size and in number at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import aiohttp

from freshet_operator.model import Object

ANSWER_SECONDS = 2.0
MOST_BYTES = 4 << 20
_AT_ONCE = 16


class PodClient:
    """One for all who ask pods."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._at_once = asyncio.Semaphore(_AT_ONCE)

    async def get(self, address: str, port: int, path: str, accepted: tuple[int, ...] = (200,)) -> bytes | None:
        """The body of an answer with one of these status codes; None: starting, ending, ill, or too large."""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS))
        host = f"[{address}]" if ":" in address else address
        body = bytearray()
        try:
            async with self._at_once, self._session.get(f"http://{host}:{port}{path}") as response:
                if response.status not in accepted:
                    return None
                async for chunk in response.content.iter_any():
                    body += chunk
                    if len(body) > MOST_BYTES:
                        return None
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return None
        return bytes(body)

    async def close(self) -> None:
        """Ends all connections."""
        if self._session is not None:
            await self._session.close()


def addresses(pods: Iterable[Object]) -> dict[str, str]:
    """Name → address of the pods that run."""
    return {
        pod["metadata"]["name"]: pod["status"]["podIP"]
        for pod in pods
        if pod.get("status", {}).get("podIP") and pod["status"].get("phase") == "Running"
    }
