"""The serving ConfigMap and which pods run it; one look for all FeatureSets."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import logging
import time
from collections.abc import Callable

from freshet_operator.api.client import Client
from freshet_operator.api.kinds import CONFIG_MAP, POD
from freshet_operator.desired.serving import CONFIG_HASH, entry_hash
from freshet_operator.model import Object, ServingSeen
from freshet_operator.names import SERVING_CONFIG_KEY
from freshet_operator.observe.pods import PodClient
from freshet_operator.settings import Settings

_log = logging.getLogger(__name__)

_AGE_SECONDS = 2.0


class ServingReader:
    """Reads ConfigMap and pods at most every two seconds."""

    def __init__(
        self, client: Client, pods: PodClient, settings: Settings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._pods = pods
        self._settings = settings
        self._clock = clock
        self._seen: tuple[float, ServingSeen] | None = None
        self._reading: asyncio.Task[ServingSeen] | None = None
        self._entries: tuple[str, dict[str, str]] = ("", {})
        self.error: str | None = None
        """Why the ConfigMap cannot be written as it should be; set by who writes it."""

    async def seen(self) -> ServingSeen:
        """As it is, or was two seconds ago. Raises ApiError."""
        if self._seen is not None and self._clock() - self._seen[0] < _AGE_SECONDS:
            return self._seen[1]
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._read())
            self._reading.add_done_callback(self._read_done)
        return await asyncio.shield(self._reading)

    def invalidate(self) -> None:
        """The ConfigMap was written."""
        self._seen = None

    async def config_map(self) -> Object | None:
        """The ConfigMap as it is now. Raises ApiError."""
        return await self._client.get(CONFIG_MAP, self._settings.own_namespace, self._settings.serving_config)

    def _read_done(self, task: asyncio.Task[ServingSeen]) -> None:
        self._reading = None
        if not task.cancelled():
            task.exception()  # whoever waits is told

    async def _read(self) -> ServingSeen:
        began = self._clock()
        settings = self._settings
        found, pods = await asyncio.gather(
            self.config_map(),
            self._client.list_all(POD, settings.own_namespace, settings.serving_selector),
        )
        live = [pod for pod in pods if _answers(pod)]
        hashes = await asyncio.gather(*(self._ask(pod["status"].get("podIP", "")) for pod in live))
        names = [pod["metadata"]["name"] for pod in live]
        written = None if found is None else (found["metadata"].get("annotations") or {}).get(CONFIG_HASH)
        seen = ServingSeen(self._entries_of(found), written, dict(zip(names, hashes, strict=True)), self.error)
        self._seen = (began, seen)
        return seen

    def _entries_of(self, found: Object | None) -> dict[str, str]:
        if found is None:
            return {}
        version = found["metadata"]["resourceVersion"]
        if self._entries[0] != version:
            self._entries = (version, _hashes(found))
        return self._entries[1]

    async def _ask(self, address: str) -> str | None:
        body = await self._pods.get(address, self._settings.admin_port, "/config") if address else None
        try:
            answer = json.loads(body or b"null")
        except ValueError:
            return None
        found = answer.get("hash") if isinstance(answer, dict) else None
        return found if isinstance(found, str) else None


def _answers(pod: Object) -> bool:
    """Whether a pod is one that should run the configuration: not one that is ending or has ended."""
    ended = pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
    return not ended and not pod["metadata"].get("deletionTimestamp")


def entries_of(found: Object | None) -> list[Object]:
    """What a serving ConfigMap holds; nothing if it cannot be read."""
    text = ((found or {}).get("binaryData") or {}).get(SERVING_CONFIG_KEY)
    if not text:
        return []
    try:
        entries = json.loads(gzip.decompress(base64.b64decode(text)))["featuresets"]
        return [entry for entry in entries if entry["metadata"]["namespace"] and entry["metadata"]["name"]]
    except (ValueError, KeyError, TypeError, OSError, EOFError) as error:
        _log.warning("the serving ConfigMap cannot be read and is written anew: %s", error)
        return []


def _hashes(found: Object) -> dict[str, str]:
    """ "namespace/name" → hash of each entry."""
    return {f"{e['metadata']['namespace']}/{e['metadata']['name']}": entry_hash(e) for e in entries_of(found)}
