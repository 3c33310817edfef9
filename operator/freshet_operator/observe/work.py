"""What processor pods say of their partitions, read from their /ready: the store's progress, as its owners know it."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Callable, Iterable
from typing import Any

from freshet_operator.model import Key, Object, Work
from freshet_operator.observe.pods import PodClient, addresses

_CALM_SECONDS = 10.0
"""What was heard while all was well is used for this long."""
_BUSY_SECONDS = 1.0
_MOST_PARTITIONS = 10_000
_LONGEST = 200


class WorkReader:
    """Asks the pods of a FeatureSet: every ten seconds at most, while something is not done yet every second."""

    def __init__(self, pods: PodClient, port: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._pods = pods
        self._port = port
        self._clock = clock
        self._heard: dict[Key, tuple[float, dict[str, str], dict[str, Work]]] = {}

    async def work(self, key: Key, pods: Iterable[Object]) -> dict[str, Work]:
        """Pod → what it says; without those that do not answer."""
        asked = addresses(pods)
        now = self._clock()
        known = self._heard.get(key)
        if known is not None and known[1] == asked:
            at, _, heard = known
            calm = len(heard) == len(asked) and all(one.is_calm for one in heard.values())
            if now - at < (_CALM_SECONDS if calm else _BUSY_SECONDS):
                return heard
        answers = await asyncio.gather(*(self._ask(address) for address in asked.values()))
        heard = {name: answer for name, answer in zip(asked, answers, strict=True) if answer is not None}
        self._heard[key] = (now, asked, heard)
        return heard

    def forget(self, key: Key) -> None:
        """The FeatureSet is gone."""
        self._heard.pop(key, None)

    async def _ask(self, address: str) -> Work | None:
        body = await self._pods.get(address, self._port, "/ready", accepted=(200, 503))
        return None if body is None else parse(body)


def parse(body: bytes) -> Work | None:
    """What a processor's /ready says; None: it is not one."""
    try:
        said = json.loads(body)
        return Work(
            owned=_numbers(said["partitions"]),
            rebuilding=_numbers(said["rebuilding"]),
            stopped={int(number): str(why).partition(":")[0][:_LONGEST] for number, why in said["stopped"].items()},
            problem=str(said.get("problem") or "")[:_LONGEST],
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _numbers(given: Any) -> frozenset[int]:
    return frozenset(map(int, itertools.islice(given, _MOST_PARTITIONS)))  # a list, or what is known of each
