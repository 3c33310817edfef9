"""All children of all FeatureSets by one list a kind, for times when many keys wait.

Held as compressed JSON: parsed objects would take twenty times the memory.
"""

from __future__ import annotations

import json
import zlib
from collections import defaultdict
from collections.abc import AsyncIterator

from freshet_operator.api.client import Client
from freshet_operator.api.kinds import CHILDREN, FEATURESET, POD, Kind
from freshet_operator.model import Object
from freshet_operator.names import FIELD_MANAGER, LABEL_FEATURESET, MANAGED_BY
from freshet_operator.store import slim

OURS = f"{MANAGED_BY}={FIELD_MANAGER},{LABEL_FEATURESET}"
"""Label selector of all children."""


class Snapshot:
    """The FeatureSets and their children as they were at `began` (monotonic) or a little later."""

    def __init__(self, began: float) -> None:
        self.began = began
        self._texts: dict[tuple[str, str], list[bytes]] = defaultdict(list)

    def add(self, featureset: str, item: Object) -> None:
        """One more object of a FeatureSet."""
        text = json.dumps(slim(item), separators=(",", ":"), ensure_ascii=False).encode()
        self._texts[item["metadata"]["namespace"], featureset].append(zlib.compress(text, 1))

    def of(self, namespace: str, name: str) -> list[Object]:
        """The FeatureSet and its children and pods."""
        return [json.loads(zlib.decompress(text)) for text in self._texts.get((namespace, name), ())]


async def take(client: Client, namespaces: tuple[str | None, ...], now: float) -> Snapshot:
    """Lists everything. Raises ApiError; a snapshot is never half."""
    snapshot = Snapshot(now)
    for namespace in namespaces:
        async for page in client.pages(FEATURESET, namespace):
            for item in page:
                snapshot.add(item["metadata"]["name"], item)
        for kind in (*CHILDREN, POD):
            async for page in _pages(client, kind, namespace):
                for item in page:
                    snapshot.add(item["metadata"]["labels"][LABEL_FEATURESET], item)
    return snapshot


def _pages(client: Client, kind: Kind, namespace: str | None) -> AsyncIterator[list[Object]]:
    return client.pages(kind, namespace, LABEL_FEATURESET if kind is POD else OURS)
